"""The missing `CallMethod` of protobuf's generic services.

`Server` serves the service classes that protoc generates with `py_generic_services`, `Channel` is
the `RpcChannel` that their stubs want; framing, networking and dispatch are done in Rust.
"""

from callmethod import service
from callmethod.channel import Channel
from callmethod.codec import Frame, IndexedCodec
from callmethod.controller import Controller, ServerController
from callmethod.errors import Code, Disconnect, RpcError, RpcException, WireError
from callmethod.options import ChannelOptions
from callmethod.peer_channel import PeerChannel
from callmethod.protocols import Indexed
from callmethod.schema import MethodTable
from callmethod.server import Server, StopSummary
from callmethod.stats import Stats

__version__ = "0.1.0"

__all__ = [
    "Channel",
    "ChannelOptions",
    "Code",
    "Controller",
    "Disconnect",
    "Frame",
    "Indexed",
    "IndexedCodec",
    "MethodTable",
    "PeerChannel",
    "RpcError",
    "RpcException",
    "Server",
    "ServerController",
    "Stats",
    "StopSummary",
    "WireError",
    "__version__",
    "service",
]
