"""The missing `CallMethod` of protobuf's generic services.

`Server` serves the service classes that protoc generates with `py_generic_services`, `Channel` is
the `RpcChannel` that their stubs want; framing, networking and dispatch are done in Rust.
"""

from callmethod import aio, reflection, service, stubs, testing
from callmethod._authentication import AuthContext
from callmethod.channel import Channel
from callmethod.codec import Frame, IndexedCodec
from callmethod.controller import Controller, ServerController
from callmethod.errors import Code, Disconnect, ProtoError, RpcError, RpcException, WireError
from callmethod.loading import Loaded, load
from callmethod.options import ChannelOptions, ServerOptions
from callmethod.peer_channel import PeerChannel
from callmethod.protocols import BaiduStd, Hulu, Indexed, Protocol, Sofa
from callmethod.schema import MethodTable
from callmethod.server import Server, StopSummary
from callmethod.service_classes import ServiceClasses, Services, services
from callmethod.stats import Stats
from callmethod.tls import Certificate, ClientTls, ServerTls, TlsInfo
from callmethod.workers import ServeSummary, serve

__version__ = "0.1.0"

__all__ = [
    "AuthContext",
    "BaiduStd",
    "Certificate",
    "Channel",
    "ChannelOptions",
    "ClientTls",
    "Code",
    "Controller",
    "Disconnect",
    "Frame",
    "Hulu",
    "Indexed",
    "IndexedCodec",
    "Loaded",
    "MethodTable",
    "PeerChannel",
    "ProtoError",
    "Protocol",
    "RpcError",
    "RpcException",
    "ServeSummary",
    "Server",
    "ServerController",
    "ServerOptions",
    "ServerTls",
    "ServiceClasses",
    "Services",
    "Sofa",
    "Stats",
    "StopSummary",
    "TlsInfo",
    "WireError",
    "__version__",
    "aio",
    "load",
    "reflection",
    "serve",
    "service",
    "services",
    "stubs",
    "testing",
]
