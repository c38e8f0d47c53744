# The compiled core, for the package itself; users import `callmethod`.
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from os import PathLike
from typing import Any, Final, Literal, TypeAlias, TypedDict, final
from typing import Protocol as _Protocol

from typing_extensions import Self, disjoint_base

from callmethod.cli.bench import Plan
from callmethod.controller import Checksum, Compression
from callmethod.errors import RpcError
from callmethod.options import ChannelOptions, ServerOptions
from callmethod.peer_channel import PeerChannel
from callmethod.protocols import Indexed, Protocol
from callmethod.service import RpcController
from callmethod.stats import Stats
from callmethod.tls import ClientTls, ServerTls, TlsInfo

__all__ = [
    "MESSAGE_BYTES",
    "Binding",
    "CallExtras",
    "Caller",
    "Channel",
    "Cork",
    "Coroutine",
    "Delivery",
    "Done",
    "FrameReader",
    "IndexedCodec",
    "Link",
    "Mailbox",
    "MessagePool",
    "Method",
    "MethodTable",
    "Process",
    "Server",
    "ServerController",
    "Waiting",
    "Workers",
    "check_client_tls",
    "check_server_tls",
    "close_gate",
    "compile_protos",
    "generate_load",
    "listen",
    "split_set",
    "traits",
]

MESSAGE_BYTES: Final[int]

_Bytes: TypeAlias = bytes | bytearray | memoryview

def check_client_tls(options: ClientTls) -> None: ...
def check_server_tls(options: ServerTls) -> None: ...
def close_gate() -> None: ...
def compile_protos(
    paths: Sequence[str | PathLike[str]], includes: Sequence[str | PathLike[str]], comments: bool
) -> tuple[list[str], list[bytes]]: ...

class _LoadReport(TypedDict):
    calls: int
    failures: dict[str, int]
    seconds: float
    cpu_seconds: float | None
    quantiles_us: list[tuple[float, float]]
    mean_us: float
    max_us: float

def generate_load(
    protocol: str,
    method: tuple[str, str, int],
    body: bytes,
    plan: Plan,
    watch: Callable[[float | None, int, int], object],
) -> _LoadReport: ...
def listen(bind: str | int) -> tuple[int, str]: ...
def split_set(set: bytes) -> list[bytes]: ...
def traits(protocol: Protocol) -> tuple[bool, bool, bool, bool, bool]: ...

@disjoint_base
class IndexedCodec:
    def __new__(cls, protocol: Indexed, receives: str, message_limit: int) -> Self: ...
    def encode_call(self, index: int, body: _Bytes, id: int | None) -> bytes: ...
    def encode_answer(self, body: _Bytes, id: int | None) -> bytes: ...
    def decode(
        self, data: _Bytes
    ) -> tuple[list[tuple[int | None, int | None, bytes]], tuple[str, str] | None]: ...
    def end(self) -> tuple[str, str] | None: ...

@disjoint_base
class MethodTable:
    def __new__(cls, service: str, files: Sequence[bytes]) -> Self: ...
    @property
    def service(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def input_types(self) -> tuple[str, ...]: ...
    @property
    def output_types(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def index(self, name: str) -> int: ...
    def request_json(self, index: int, body: bytes) -> str: ...
    def response_json(self, index: int, body: bytes) -> str: ...

class _AnyFrame(TypedDict):
    kind: Literal["call", "reply"]
    offset: int
    length: int

class _Frame(_AnyFrame, total=False):
    index: int
    service: str
    method: str
    id: int | None
    timeout: float | None
    body: bytes
    fault: str
    code: str
    text: str
    native: int | None
    attachment: int
    metadata: dict[str, str]

@final
class FrameReader:
    def __new__(cls, protocol: Protocol, reads: str) -> Self: ...
    def feed(self, data: bytes) -> tuple[list[_Frame], str | None]: ...
    def end(self) -> str | None: ...

# name, input type, output type, client streaming, server streaming
_Rpc: TypeAlias = tuple[str, str, str, bool, bool]

@final
class MessagePool:
    def __new__(cls, files: Sequence[bytes]) -> Self: ...
    @property
    def files(self) -> list[str]: ...
    @property
    def services(self) -> list[tuple[str, str]]: ...
    def methods(self, service: str) -> list[_Rpc]: ...
    def describe(self, name: str) -> str: ...
    def to_json(self, message: str, body: bytes) -> str: ...
    def parse_json(self, message: str, json: str) -> bytes: ...

@final
class Process:
    def __new__(cls) -> Self: ...
    def next_records(self) -> list[tuple[int, str, BaseException | None]] | None: ...
    def run_callbacks(
        self,
        run: Callable[[Callable[..., object], tuple[Any, ...]], None],
        failed: Callable[[BaseException], None],
    ) -> bool: ...
    def take_callbacks(self) -> list[tuple[Callable[..., object], tuple[Any, ...]]]: ...
    def post(self, function: Callable[..., object], args: tuple[object, ...]) -> None: ...
    def close(self) -> None: ...

@final
class Workers:
    def __new__(cls, process: Process) -> Self: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...

# Handler (None: left out), parser, "has required", response class, "has required".
# FromString, IsInitialized unless nothing is required, and tags of what is where these tell all.
_ParserParts: TypeAlias = tuple[Callable[..., Any], Callable[..., Any] | None, list[int] | None]
_BoundParts: TypeAlias = tuple[
    Callable[..., Any] | None,
    _ParserParts,
    type[Any],
    Callable[..., Any],
    bool,
]

@final
class Binding:
    def __new__(
        cls,
        service: object,
        table: MethodTable,
        methods: Sequence[_BoundParts],
        on_connected: Callable[..., Any] | None,
        on_disconnected: Callable[..., Any] | None,
    ) -> Self: ...

# `nameless` is the service that wires without service names mean, where there are several.
class _Offers(TypedDict):
    services: Sequence[Binding | Callable[[PeerChannel], Binding]]
    nameless: str | None

@final
class Method:
    def __new__(
        cls,
        service: str,
        method: str,
        index: int,
        serialized: Callable[[Any], bytes],
        response: _ParserParts,
        response_name: str,
    ) -> Self: ...
    def response(self, body: bytes, peer: str) -> Any: ...

@final
class CallExtras:
    def __new__(
        cls,
        attachment: _Bytes,
        metadata: Mapping[str, str],
        compression: str,
        checksum: str,
        log_id: int | None,
        trace_id: int | None,
        span_id: int | None,
        parent_span_id: int | None,
        request_id: str | None,
    ) -> Self: ...
    @property
    def attachment(self) -> bytes: ...
    @property
    def metadata(self) -> dict[str, str]: ...

@final
class Mailbox:
    def __new__(cls, process: Process, bell: int, look_after: Callable[[], object]) -> Self: ...
    def cork(self) -> Cork | None: ...
    def pass_on(self) -> None: ...
    def take(self) -> list[tuple[Callable[..., object], tuple[Any, ...]]]: ...

@final
class Caller:
    def call(
        self, method: Method, body: bytes, timeout: float | None, extras: CallExtras | None
    ) -> Delivery: ...
    def call_then(
        self,
        method: Method,
        body: bytes,
        timeout: float | None,
        extras: CallExtras | None,
        settle: Callable[[RpcError | None, bytes | None, CallExtras | None], object],
        mailbox: Mailbox | None,
    ) -> Delivery: ...
    def block(self, method: Method, request: Any, timeout: float | None) -> Any: ...
    def call_back(
        self,
        method: Method,
        request: Any,
        timeout: float | None,
        done: Callable[..., Any],
        channel: object,
    ) -> None: ...
    def call_soon(
        self,
        method: Method,
        request: Any,
        timeout: float | None,
        future: Future[Any],
        mailbox: Mailbox,
        channel: object,
    ) -> Delivery: ...

@final
class Link:
    @property
    def peer(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def tls(self) -> TlsInfo | None: ...
    @property
    def connected(self) -> bool: ...
    @property
    def answers(self) -> bool: ...
    @property
    def caller(self) -> Caller: ...
    def close(self) -> None: ...

# It derives from RpcController by what `isinstance` sees. Attributes of the user's are left out, so
# that a type checker finds what is misspelt.
@final
class ServerController(RpcController):
    @property
    def rpc_channel(self) -> PeerChannel: ...
    @property
    def channel(self) -> PeerChannel: ...
    @property
    def peer(self) -> str: ...
    @property
    def tls(self) -> TlsInfo | None: ...
    @property
    def peer_identity(self) -> Any: ...
    @property
    def protocol(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def request_attachment(self) -> bytes: ...
    @property
    def log_id(self) -> int | None: ...
    @property
    def trace_id(self) -> int | None: ...
    @property
    def span_id(self) -> int | None: ...
    @property
    def parent_span_id(self) -> int | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def response_attachment(self) -> bytes: ...
    @response_attachment.setter
    def response_attachment(self, value: _Bytes) -> None: ...
    # Read-only in itself: it is set as a whole.
    @property
    def response_metadata(self) -> Mapping[str, str]: ...
    @response_metadata.setter
    def response_metadata(self, value: Mapping[str, str]) -> None: ...
    @property
    def response_compression(self) -> Compression: ...
    @response_compression.setter
    def response_compression(self, value: Compression) -> None: ...
    @property
    def response_checksum(self) -> Checksum: ...
    @response_checksum.setter
    def response_checksum(self, value: Checksum) -> None: ...
    def time_remaining(self) -> float | None: ...
    def SetFailed(self, reason: object) -> None: ...
    def Failed(self) -> bool: ...
    def ErrorText(self) -> str: ...
    def IsCanceled(self) -> bool: ...
    def NotifyOnCancel(self, callback: Callable[[], object]) -> None: ...
    def Reset(self) -> None: ...
    def StartCancel(self) -> None: ...

@final
class Done:
    def __call__(self, response: Any = None, /) -> None: ...

@final
class Cork:
    def __call__(self) -> None: ...

@final
class Coroutine:
    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, *args: Any) -> Any: ...
    def close(self) -> None: ...
    def refuse(self, why: str) -> None: ...

@final
class Waiting:
    def __new__(
        cls, event_loop: Callable[[], AbstractEventLoop], start: Callable[[], None]
    ) -> Self: ...
    def take(self) -> list[Coroutine]: ...
    def make_tasks(
        self,
        make: Callable[..., Task[None]],
        arguments: dict[str, Any],
        tasks: set[Task[None]],
    ) -> None: ...
    def is_empty(self) -> bool: ...
    def close(self) -> bool: ...

class _Runner(_Protocol):
    waiting: Waiting
    def call_soon(self, flush: Callable[[], None]) -> None: ...

@final
class Delivery:
    def wait(self) -> tuple[RpcError | None, bytes | None, CallExtras | None]: ...
    def cancel(self) -> None: ...

@final
class Server:
    @staticmethod
    def start(
        process: Process,
        workers: Workers,
        bind: str | int | None,
        protocols: Sequence[Protocol],
        options: ServerOptions,
        *,
        offers: _Offers,
        authenticate: Callable[[PeerChannel, bytes, Mapping[str, str]], bool] | None,
        expose_errors: bool,
        reuse_port: bool,
        context: Context,
        runner: _Runner,
        tls: ServerTls | None = None,
    ) -> Server: ...
    @property
    def address(self) -> str | None: ...
    def reload_tls(self, options: ServerTls) -> None: ...
    def close(self) -> None: ...
    def drain(self, grace: float) -> None: ...
    def cut(self) -> tuple[int, int]: ...
    def farewell(self) -> int: ...
    def release(self) -> None: ...
    def abandon(self) -> None: ...
    def stats(self) -> Stats: ...

@final
class Channel:
    def __new__(
        cls,
        process: Process,
        workers: Workers | None,
        target: str | Server,
        protocol: Protocol,
        options: ChannelOptions,
        *,
        offers: _Offers | None,
        context: Context,
        runner: _Runner,
        tls: ClientTls | None = None,
    ) -> Self: ...
    @property
    def connected(self) -> bool: ...
    @property
    def caller(self) -> Caller: ...
    def reload_tls(self, options: ClientTls) -> None: ...
    def set_credential(self, credential: bytes) -> None: ...
    def connect(self, timeout: float | None) -> Delivery: ...
    def close(self, grace: float, then: Callable[[], object] | None = None) -> Delivery: ...
    def release(self) -> None: ...
    def stats(self) -> Stats: ...
