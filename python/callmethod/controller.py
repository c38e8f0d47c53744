"""The controllers: of an outgoing call, and of a call that is being handled."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from callmethod import _core
from callmethod._core import ServerController
from callmethod._log import report
from callmethod.errors import Code, RpcError
from callmethod.options import check_seconds
from callmethod.service import RpcController

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNSET", "Checksum", "Compression", "Controller", "ServerController"]


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        """Return the name under which it is known."""
        return "UNSET"


UNSET: Final = Unset()
"""No timeout was named: the channel's own holds."""

# Re-entrant, since a signal handler or a finalizer may cancel a call wherever something is made.
_lock = threading.RLock()


Compression: TypeAlias = Literal["none", "snappy", "gzip", "zlib"]
"""How a message is compressed."""

Checksum: TypeAlias = Literal["none", "message", "message_and_attachment"]
"""What a crc32c checksum covers."""


class Controller(RpcController):
    """One outgoing call. It may be used again, which resets it, but not while a call is under way.

    What goes along with the request is said before the call and stays for the next one; what came
    along with the response is there after it. A protocol that cannot carry something raises
    ValueError in the call.

    Attributes:
        metadata: free keys and values; brpc's user_fields.
        request_attachment: raw bytes after the request.
        compression: of the request.
        checksum: of the request.
        log_id: number by which users group their log lines.
        trace_id: of the tree of calls.
        span_id: of this call in the tree.
        parent_span_id: of the call that causes this one.
        request_id: `x-request-id` of the HTTP request at the root.
        code: how the last call ended; None before that.
        native_code: the protocol's own number for a failure, where it has one.
        response_attachment: raw bytes after the response.
        response_metadata: free keys and values beside the response.
    """

    # Class attributes, so that a subclass need not call this __init__.
    _timeout: float | Unset | None = UNSET
    metadata: Mapping[str, str] = MappingProxyType({})
    request_attachment: bytes | bytearray | memoryview = b""
    compression: Compression = "none"
    checksum: Checksum = "none"
    log_id: int | None = None
    trace_id: int | None = None
    span_id: int | None = None
    parent_span_id: int | None = None
    request_id: str | None = None
    code: Code | None = None
    native_code: int | None = None
    response_attachment: bytes = b""
    response_metadata: Mapping[str, str] = MappingProxyType({})
    _text: str = ""
    _running: bool = False
    _cancelled: bool = False
    _cancel: Callable[[], object] | None = None
    _closures: tuple[Callable[[], object], ...] = ()

    def __init__(
        self,
        timeout: float | Unset | None = UNSET,
        *,
        metadata: Mapping[str, str] | None = None,
        request_attachment: bytes | bytearray | memoryview = b"",
        compression: Compression = "none",
        checksum: Checksum = "none",
        log_id: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Make a controller.

        Raises:
            ValueError: `timeout` is no time.
        """
        if not isinstance(timeout, Unset):
            self.timeout = timeout
        if metadata:
            # What is no mapping is refused by the call, which says so.
            given: object = metadata
            self.metadata = dict(metadata) if isinstance(given, Mapping) else metadata
        if request_attachment:
            self.request_attachment = request_attachment
        if compression != "none":
            self.compression = compression
        if checksum != "none":
            self.checksum = checksum
        if log_id is not None:
            self.log_id = log_id
        if request_id is not None:
            self.request_id = request_id

    @property
    def timeout(self) -> float | None:
        """Seconds for a call; None for no limit, or, if none was ever named, the channel's own."""
        return None if isinstance(self._timeout, Unset) else self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        if seconds is not None:
            check_seconds("timeout", seconds)
        self._timeout = seconds

    def Failed(self) -> bool:
        """Say whether the last call failed."""
        return self.code not in (None, Code.OK)

    def ErrorText(self) -> str:
        """Return why the last call failed; empty if it did not."""
        return self._text

    def SetFailed(self, reason: object) -> None:
        """Mark the call as failed, for channels of one's own."""
        self.code, self._text = Code.INTERNAL, str(reason)

    def Reset(self) -> None:
        """Forget the last call.

        Raises:
            RuntimeError: a call is under way.
        """
        with _lock:
            self._refuse_if_running()
            self._forget()

    def StartCancel(self) -> None:
        """End the call under way as CANCELLED; without one nothing happens. Any thread may."""
        with _lock:
            if not self._running:
                return
            self._cancelled = True
            cancel = self._cancel
        if cancel is not None:
            cancel()

    def IsCanceled(self) -> bool:
        """Say whether the call was cancelled."""
        return self._cancelled

    def NotifyOnCancel(self, callback: Callable[[], object]) -> None:
        """Have `callback` called exactly once, when the call under way has ended."""
        with _lock:
            if self._running:
                self._closures += (callback,)
                return
        callback()

    def _refuse_if_running(self) -> None:
        if self._running:
            raise RuntimeError("the controller's call is in progress; take a new controller")

    def _forget(self) -> None:
        self.code, self._text, self._cancelled, self._cancel = None, "", False, None
        self.native_code, self.response_attachment = None, b""
        self.response_metadata = MappingProxyType({})

    def _extras(self) -> _core.CallExtras | None:
        """Return what goes along with the request; None when nothing does."""
        trace = (self.log_id, self.trace_id, self.span_id, self.parent_span_id, self.request_id)
        plain = self.compression == self.checksum == "none"
        if plain and not (self.request_attachment or self.metadata or any_set(trace)):
            return None
        try:
            return _core.CallExtras(
                self.request_attachment,
                self.metadata or {},
                self.compression,
                self.checksum,
                *trace,
            )
        except OverflowError:
            raise ValueError(f"log and trace ids are int64, not all of {trace[:4]}") from None

    def _take(self, extras: _core.CallExtras) -> None:
        """Keep what came along with the response."""
        self.response_attachment = extras.attachment
        self.response_metadata = extras.metadata

    def _begin(self) -> None:
        with _lock:
            self._refuse_if_running()
            self._forget()
            self._running = True

    def _cancel_by(self, cancel: Callable[[], object]) -> None:
        """Learn how the call under way is cancelled, and do so if that was asked for already."""
        with _lock:
            self._cancel = cancel
            cancelled = self._cancelled
        if cancelled:
            cancel()

    def _end(self, error: RpcError | None) -> None:
        with _lock:
            self._running, self._cancel = False, None
            self.code = Code.OK if error is None else error.code
            self._text = "" if error is None else error.text
            self.native_code = None if error is None else error.native_code
            closures, self._closures = self._closures, ()
        for closure in closures:
            try:
                closure()
            except Exception as mistake:  # noqa: BLE001  (the call has ended as it has)
                report(mistake)


class SeenAs(RpcController):
    """What `isinstance` is told that a `ServerController` is, beside its own type.

    That type is made in Rust and can derive from no class of Python's; and a metaclass would make
    `RpcController` one that not every other class can stand beside.
    """


def any_set(values: tuple[object, ...]) -> bool:
    """Say whether any of `values` is there."""
    return any(value is not None for value in values)


def _after_fork_in_child() -> None:
    global _lock
    # Whoever held it is not here.
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
