"""TLS as the checkers see it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import callmethod
from callmethod import aio


def check_certificate(context: callmethod.AuthContext) -> str | None:
    assert_type(context.credential, bytes)
    assert_type(context.metadata["tenant"], str)
    if context.tls is None or context.tls.certificate is None:
        return None
    return context.tls.certificate.common_name


def server() -> callmethod.Server:
    tls = callmethod.ServerTls(
        "server.pem",
        Path("server.key"),
        client_ca=b"...",
        crl=None,
        require_client_certificate=False,
        also_plain=True,
    )
    secure = callmethod.Server(tls=tls, authenticate=check_certificate)
    secure.reload_tls()
    secure.reload_tls(tls)
    aio.Server(tls=tls, authenticate=check_certificate).reload_tls()
    callmethod.serve("game:make", tls=tls)
    return secure


def channel() -> callmethod.Channel:
    tls = callmethod.ClientTls("ca.pem", "client.pem", "client.key", server_name="game.example")
    aio.Channel("127.0.0.1:1", tls=tls).reload_tls()
    secure = callmethod.Channel("127.0.0.1:1", tls=tls)
    secure.reload_tls(tls)
    return secure


def wrong_end() -> callmethod.Channel:
    tls = callmethod.ServerTls("server.pem", "server.key")
    return callmethod.Channel(
        "127.0.0.1:1",
        tls=tls,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def handler(rpc_controller: callmethod.ServerController) -> Any:
    info = rpc_controller.tls
    assert_type(info, "callmethod.TlsInfo | None")
    assert_type(rpc_controller.rpc_channel.tls, "callmethod.TlsInfo | None")
    if info is not None and info.certificate is not None:
        assert_type(info.certificate.uris, tuple[str, ...])
        assert_type(info.certificate.not_after, dt.datetime)
    return rpc_controller.peer_identity
