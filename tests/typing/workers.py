"""Typed user code on worker processes: checked by mypy --strict and pyright, never run."""

from __future__ import annotations

import socket
from typing import Any

from typing_extensions import assert_type

import callmethod
from callmethod import aio


def server() -> callmethod.Server:
    return callmethod.Server(max_workers=1)


async def on_a_loop() -> list[Any]:
    return []


def aio_server() -> aio.Server:
    return aio.Server()


class Service:
    """A class is a factory, too."""


def serve() -> None:
    summary = callmethod.serve("game:make", "127.0.0.1:0", workers=4, grace=1, start_timeout=5.0)
    assert_type(summary, callmethod.ServeSummary)
    assert_type(summary.replaced, int)
    assert_type(summary.killed, int)
    callmethod.serve(server, on_ready=print)
    callmethod.serve(on_a_loop, bind=socket.socket())
    callmethod.serve(aio_server, bind="unix:/run/game")
    callmethod.serve(Service)
    callmethod.serve(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    callmethod.serve(server, on_ready=len)
    callmethod.serve(server, workers="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
