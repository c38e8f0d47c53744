"""Mistakes that are easily made, and what one is told of them: who, what, and what was meant."""

import asyncio
import logging

import pytest

import callmethod
from callmethod import BaiduStd, Channel, Code, Controller, RpcError, Server, aio
from callmethod.options import brief
from testing_pb2 import Number, Numbers, Numbers_Stub

HELLO = Number(value=1)
NOWHERE = "127.0.0.1:1"


class WithoutText(Exception):
    def __str__(self):
        return "no such game"


# ---------------------------------------------------------------- texts that are none


@pytest.mark.parametrize(
    ("text", "told"), [(LookupError("no game 7"), "no game 7"), (7, "7"), (b"x", "b'x'")]
)
def test_the_text_of_an_error_may_be_anything_that_has_one(text, told, pair, numbers):
    def push(rpc_controller, request, done):
        raise RpcError(Code.NOT_FOUND, text)

    _, channel = pair(numbers(push=push))
    with pytest.raises(RpcError) as caught:
        Numbers_Stub(channel).push(None, HELLO)
    assert (caught.value.code, caught.value.text) == (Code.NOT_FOUND, told)


def test_so_may_that_of_set_failed(pair, numbers):
    def push(rpc_controller, request, done):
        rpc_controller.SetFailed(WithoutText())
        assert rpc_controller.ErrorText() == "no such game"
        done(None)

    _, channel = pair(numbers(push=push))
    with pytest.raises(RpcError, match="no such game"):
        Numbers_Stub(channel).push(None, HELLO)
    controller = Controller()
    controller.SetFailed(WithoutText())
    assert controller.ErrorText() == "no such game"


# ---------------------------------------------------------------- what is no controller


class Nothing:
    pass


@pytest.mark.parametrize(
    ("controller", "told"),
    [
        (5.0, r"callmethod\.Controller\(timeout=5\.0\)"),
        (3, r"callmethod\.Controller\(timeout=3\)"),
        (Controller, r"Controller is a class; pass an instance, Controller\(\)"),
        ({"timeout": 1}, "dict has no SetFailed"),
        (Nothing(), "Nothing has no SetFailed"),
    ],
    ids=["float", "int", "class", "dict", "object"],
)
@pytest.mark.parametrize("method", ["push", "left_out"])
def test_what_is_no_controller(method, controller, told, face, pair, answers):
    """Before anything is sent, also where the call would have succeeded."""
    server, channel = pair(answers)
    stub = Numbers_Stub(channel)
    with pytest.raises(TypeError, match=told):
        getattr(stub, method)(controller, HELLO)
    with pytest.raises(TypeError, match=told):
        getattr(stub, method)(controller, HELLO, print)

    async def awaited():
        getattr(Numbers_Stub(aio.awaitable(channel)), method)(controller, HELLO)

    with pytest.raises(TypeError, match=told):
        asyncio.run(awaited())
    assert server.stats()["calls_received_total"] == 0


# ---------------------------------------------------------------- what cannot be awaited


@pytest.mark.parametrize("what", ["x", None, 5, Channel, object()], ids=repr)
def test_what_has_no_calls_to_await(what):
    with pytest.raises(TypeError, match=r"awaitable\(\) takes a callmethod\.Channel or"):
        aio.awaitable(what)


def test_what_is_awaitable_already(pair, answers):
    _, channel = pair(answers)
    with pytest.raises(TypeError, match="are awaited already"):
        aio.awaitable(aio.awaitable(channel))


def test_a_channel_with_a_call_method_of_its_own(pair, answers):
    class Counting(Channel):
        def CallMethod(self, *args):
            return super().CallMethod(*args)

    class Renamed(Channel):
        pass

    server, _ = pair(answers)
    with Counting(server.address) as channel, Renamed(server.address) as other:
        with pytest.raises(TypeError, match="Counting overrides CallMethod"):
            aio.awaitable(channel)
        aio.awaitable(other)


# ---------------------------------------------------------------- what goes beside a message


def test_response_metadata_cannot_be_changed_in_place(pair, numbers):
    def push(rpc_controller, request, done):
        rpc_controller.response_metadata = {"a": "1"}
        with pytest.raises(TypeError, match="does not support item assignment"):
            rpc_controller.response_metadata["k"] = "v"
        rpc_controller.response_metadata = {**rpc_controller.response_metadata, "b": "2"}
        rpc_controller.response_metadata = rpc_controller.response_metadata
        done(request)

    _, channel = pair(numbers(push=push))
    controller = Controller()
    Numbers_Stub(channel).push(controller, HELLO)
    assert controller.response_metadata == {"a": "1", "b": "2"}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_attachments_of_every_kind_of_bytes(kind, pair, numbers):
    def push(rpc_controller, request, done):
        rpc_controller.response_attachment = kind(rpc_controller.request_attachment)
        done(request)

    _, channel = pair(numbers(push=push))
    controller = Controller(request_attachment=kind(b"raw"))
    Numbers_Stub(channel).push(controller, HELLO)
    assert controller.response_attachment == b"raw"


WRONG = [
    ("attachment", "text", "must be bytes, not str"),
    ("attachment", 5, "must be bytes, not int"),
    ("metadata", {"a": "b", "k": 1}, r"metadata\[\"k\"\] must be str, not int"),
    ("metadata", {7: "a"}, "keys of .*metadata must be str, not int"),
    ("metadata", 5, "metadata must be a mapping of str to str, not int"),
    ("metadata", ["ab"], "metadata must be a mapping of str to str, not list"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_what_goes_beside_a_request_is_named(name, value, told, pair, answers):
    _, channel = pair(answers)
    controller = Controller()
    setattr(controller, "request_attachment" if name == "attachment" else name, value)
    with pytest.raises(TypeError, match=told) as caught:
        Numbers_Stub(channel).push(controller, HELLO)
    assert name in str(caught.value)
    assert answers.values == []


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_so_is_what_goes_beside_a_response(name, value, told, pair, numbers):
    caught = []

    def push(rpc_controller, request, done):
        with pytest.raises(TypeError, match=told) as error:
            setattr(rpc_controller, f"response_{name}", value)
        caught.append(str(error.value))
        with pytest.raises(TypeError, match="response_compression must be str, not int"):
            rpc_controller.response_compression = 5
        done(request)

    _, channel = pair(numbers(push=push))
    Numbers_Stub(channel).push(None, HELLO)
    assert f"response_{name}" in caught[0]


# ---------------------------------------------------------------- servers, channels, services


class Empty(Numbers):
    pass


def test_a_call_that_would_block_a_loop(pair, answers):
    _, channel = pair(answers)

    async def call():
        with pytest.raises(RuntimeError, match="pass a third argument, the callback"):
            Numbers_Stub(channel).push(None, HELLO)

    asyncio.run(call())


@pytest.mark.parametrize("target", ["http://x:1", "tcp://127.0.0.1:1"])
def test_an_url_is_no_target(target):
    with pytest.raises(ValueError, match=r"a URL.*host:port, \[v6\]:port, unix:path"):
        Channel(target)


def test_one_service_twice():
    server = Server()
    server.add_service(Empty())
    with pytest.raises(ValueError, match=r"callmethod\.testing\.Numbers was added already"):
        server.add_service(Empty())


def test_factories_are_spoken_of_where_they_exist():
    with pytest.raises(TypeError, match=r"pass an instance, Empty\(\), or factory="):
        Server().add_service(Empty)
    for make in (
        lambda: Channel(NOWHERE, service=Empty),
        lambda: callmethod.testing.channel_for(Empty),
    ):
        with pytest.raises(TypeError, match=r"pass an instance, Empty\(\)$"):
            make()


def test_a_stopped_server_is_no_target():
    server = Server()
    server.add_service(Empty())
    server.start()
    server.stop()
    with pytest.raises(RuntimeError, match="has stopped"):
        Channel(server)


def test_a_server_of_aio_is_one(answers):
    async def main():
        server = aio.Server(None, protocols=[BaiduStd()])
        server.add_service(answers)
        async with server:
            with Channel(server) as channel:
                return await asyncio.to_thread(Numbers_Stub(channel).push, None, HELLO)

    assert asyncio.run(main()) == HELLO


async def started(server):
    await server.start()


def awaited(channel):
    async def call():
        await Numbers_Stub(channel).push(None, HELLO)

    return asyncio.run(call())


@pytest.mark.parametrize(
    ("base", "use"),
    [
        (Channel, lambda channel: Numbers_Stub(channel).push(None, HELLO)),
        (Channel, lambda channel: channel.close()),
        (Server, lambda server: server.add_service(Empty())),
        (Server, lambda server: server.start()),
        (Server, lambda server: server.stop()),
        (aio.Channel, awaited),
        (aio.Channel, lambda channel: asyncio.run(channel.close())),
        (aio.Server, lambda server: server.add_service(Empty())),
        (aio.Server, lambda server: asyncio.run(started(server))),
    ],
)
def test_a_subclass_that_forgot_the_init_of_its_base(base, use):
    class Mine(base):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match=r"Mine\.__init__\(\) did not call super"):
        use(Mine())


@pytest.mark.parametrize("workers", [True, False, 2.0, "4"])
def test_numbers_of_workers_that_are_none(workers):
    with pytest.raises(TypeError, match="max_workers must be a number of threads"):
        Server(max_workers=workers)


@pytest.mark.parametrize("workers", [0, -1, 10**5, 10**9, 10**400], ids=brief)
def test_numbers_of_workers_that_cannot_be(workers):
    with pytest.raises(ValueError, match="max_workers must be from 1 to 4096") as caught:
        Server(max_workers=workers)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "seconds", [True, -1, float("nan"), float("inf"), "1", 10**400, None], ids=brief
)
def test_times_that_are_none(seconds):
    with pytest.raises(ValueError, match="backoff_max must be seconds from 0 on") as caught:
        callmethod.ChannelOptions(backoff_max=seconds)
    assert len(str(caught.value)) < 100
    if seconds is not None:
        with pytest.raises(ValueError, match="timeout must be seconds from 0 on"):
            Controller(timeout=seconds)


def test_numbers_that_are_none():
    with pytest.raises(ValueError, match="max_retry must be a whole number"):
        callmethod.ChannelOptions(max_retry=True)


def test_a_time_without_end(pair, answers):
    """Longer than any clock runs: no limit at all, everywhere."""
    forever = 1e300
    server_options = callmethod.ServerOptions(max_queue_time=forever, handshake_timeout=forever)
    options = callmethod.ChannelOptions(
        timeout=forever, backoff_max=forever, connect_timeout=forever
    )
    _, channel = pair(answers, options=options, server_options=server_options)
    channel.connect(forever)
    assert Numbers_Stub(channel).push(Controller(timeout=forever), HELLO) == HELLO
    assert Numbers_Stub(channel).push(None, HELLO) == HELLO
    channel.close(forever)


def test_what_a_handler_raises_after_the_end_is_told_as_that(pair, numbers, caplog, wait_until):
    def push(rpc_controller, request, done):
        done(request)
        raise LookupError("too late")

    server, channel = pair(numbers(push=push))
    with caplog.at_level(logging.ERROR, "callmethod"):
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO
        wait_until(lambda: caplog.records)
    [record] = caplog.records
    assert "handler raised after the end of its call method=callmethod.testing.Numbers.push" in (
        record.getMessage()
    )
    assert "code=" not in record.getMessage()
    assert record.exc_info[0] is LookupError
    assert server.stats()["calls_total"] == {"ok": 1}


# ---------------------------------------------------------------- kinds


def test_a_handlers_controller_is_an_rpc_controller(pair, numbers):
    seen = []

    def push(rpc_controller, request, done):
        seen.append(isinstance(rpc_controller, callmethod.service.RpcController))
        seen.append(isinstance(rpc_controller, callmethod.ServerController))
        seen.append(isinstance(rpc_controller, callmethod.Controller))
        done(request)

    _, channel = pair(numbers(push=push))
    Numbers_Stub(channel).push(None, HELLO)
    assert seen == [True, True, False]
    # A plain class: one of the user's may have any other base beside it.
    assert type(callmethod.service.RpcController) is type
