"""The user's check of who calls, kept from letting anybody in by mistake."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from callmethod.peer_channel import PeerChannel
    from callmethod.tls import TlsInfo


@dataclasses.dataclass(frozen=True)
class AuthContext:
    """What is known of a new caller when it is asked who it is.

    Attributes:
        credential: what came with its first call, brpc's authentication_data; empty where none did.
        peer: where it is, `127.0.0.1:40001` for one.
        protocol: name of the protocol spoken.
        tls: how the connection is secured, with the caller's certificate; None without TLS.
        metadata: free keys and values beside its first call.
    """

    credential: bytes = dataclasses.field(repr=False)
    peer: str
    protocol: str
    tls: TlsInfo | None
    metadata: Mapping[str, str] = dataclasses.field(repr=False)


def takes_context(authenticate: Any) -> bool:
    """Say whether the check is called with an `AuthContext`, and not with credential and peer.

    Raises:
        TypeError: it is no plain function, or takes neither.
    """
    if not callable(authenticate):
        raise TypeError(f"authenticate must be callable, not {type(authenticate).__name__}")
    if _is_async(authenticate) or _is_async(getattr(authenticate, "__call__", None)):  # noqa: B004
        raise TypeError(
            "authenticate must be a plain function, which runs on a worker; a coroutine, which an "
            "`async def` gives, is neither yes nor no"
        )
    try:
        signature = inspect.signature(authenticate)
    except ValueError:
        # One of C's that does not say.
        return False
    if _takes(signature, 2):
        return False
    if _takes(signature, 1):
        return True
    raise TypeError(
        "authenticate is called as authenticate(context), with a callmethod.AuthContext, or as "
        f"authenticate(credential, peer); it takes {signature}"
    )


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def checked(authenticate: Any) -> Callable[[PeerChannel, bytes, Mapping[str, str]], bool]:
    """Return the check as the core calls it, with what it gives looked at and kept.

    Raises:
        TypeError: it is no plain function, or takes something else.
    """
    whole = takes_context(authenticate)

    def judge(channel: PeerChannel, credential: bytes, metadata: Mapping[str, str]) -> bool:
        if whole:
            context = AuthContext(credential, channel.peer, channel.protocol, channel.tls, metadata)
            verdict = authenticate(context)
        else:
            verdict = authenticate(credential, channel.peer)
        # A coroutine is a true value: without this it would let everybody in.
        if inspect.isawaitable(verdict) or inspect.isasyncgen(verdict):
            if inspect.iscoroutine(verdict):
                verdict.close()
            raise TypeError(f"authenticate gave a {type(verdict).__name__}, not yes, no or who")
        believed = bool(verdict)
        if believed and verdict is not True:
            channel._be_known_as(verdict)  # noqa: SLF001  (known to its own end, by nobody else)
        return believed

    return judge


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
