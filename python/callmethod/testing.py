"""For tests of one's own services: a channel to a service, without a port."""

from __future__ import annotations

from typing import Any

from callmethod._binding import check_service
from callmethod.channel import Channel
from callmethod.options import ChannelOptions
from callmethod.protocols import BaiduStd, Protocol
from callmethod.server import Server

__all__ = ["channel_for"]


class _ChannelToOwnServer(Channel):
    """A channel that ends its server with itself."""

    def __init__(self, server: Server, protocol: Protocol, options: ChannelOptions) -> None:
        self._server = server
        super().__init__(server, protocol=protocol, options=options)

    def close(self, grace: float = 1.0) -> None:
        super().close(grace)
        self._server.stop(grace)


def channel_for(
    service: Any,
    *services: Any,
    protocol: Protocol = BaiduStd(),  # noqa: B008  (frozen)
    options: ChannelOptions = ChannelOptions(),  # noqa: B008  (frozen)
) -> Channel:
    """Return a channel to services in this process: the whole way of a call but for the network.

        with callmethod.testing.channel_for(Game()) as channel:
            assert GameService_Stub(channel).connect_server(None, request).message == "welcome"

    Closing the channel ends their server; `callmethod.aio.awaitable(channel)` awaits its calls.

    Raises:
        TypeError: something is no service.
        ValueError: two services have one name without the package.
    """
    for each in (service, *services):
        check_service(each)
    server = Server(None, protocols=[protocol])
    for each in (service, *services):
        server.add_service(each)
    server.start()
    return _ChannelToOwnServer(server, protocol, options)
