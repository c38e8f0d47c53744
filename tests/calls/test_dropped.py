"""Channels that nobody keeps: a call under way keeps its own, and the rest goes without a trace."""

import asyncio
import contextlib
import gc
import socket
import threading
import time
import weakref

import pytest

import callmethod
from callmethod import BaiduStd, Controller
from testing_pb2 import Number, Numbers, Numbers_Stub

PATIENT = {"timeout": 20}


class Slow(Numbers):
    """Answers later than a channel that nobody keeps is given to close."""

    def push(self, rpc_controller, request, done):
        time.sleep(0.3)
        done(request)


@pytest.fixture
def address(server_factory):
    return server_factory(Slow(), protocols=[BaiduStd()]).address


def test_an_awaited_call_keeps_its_channel(address):
    async def main():
        request = Number(value=1)
        call = Numbers_Stub(callmethod.aio.Channel(address)).push(Controller(**PATIENT), request)
        gc.collect()
        assert await call == request

    asyncio.run(main())


def test_a_called_back_call_keeps_its_channel(address):
    ended, got = threading.Event(), []

    def done(response):
        got.append(response)
        ended.set()

    Numbers_Stub(callmethod.Channel(address)).push(Controller(**PATIENT), Number(value=1), done)
    gc.collect()
    assert ended.wait(10)
    assert got == [Number(value=1)]


def test_a_call_keeps_it_no_longer_than_it_takes(address, wait_until):
    channel = callmethod.Channel(address)
    gone = weakref.ref(channel)
    controller, told = Controller(**PATIENT), []
    Numbers_Stub(channel).push(controller, Number(value=1), told.append)
    del channel
    gc.collect()
    assert gone() is not None
    wait_until(lambda: told)
    wait_until(lambda: gone() is None)


@contextlib.contextmanager
def deaf_server():
    """Takes connections, and neither answers nor ends them."""
    held = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    held.append(listening.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    for each in held:
        each.close()


def test_dropped_channels_hold_up_no_callback(address):
    with deaf_server() as deaf, callmethod.Channel(address) as channel:
        channel.connect()
        many = [callmethod.Channel(deaf) for _ in range(30)]
        for each in many:
            each.connect()
        ended = threading.Event()
        Numbers_Stub(channel).push(Controller(**PATIENT), Number(value=1), lambda _: ended.set())
        began = time.monotonic()
        del each, many
        gc.collect()
        assert ended.wait(10)
        # The handler takes 0.3 s; one dropped channel after the other would have taken 3 s.
        assert time.monotonic() - began < 1.5
