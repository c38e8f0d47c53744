"""callmethod.testing.channel_for: a user's unit test of a service, without a port."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

import callmethod
import testing_pb2
from callmethod import ChannelOptions, Code, Controller, RpcError
from callmethod.testing import channel_for
from testing_pb2 import Number, Numbers_Stub, Single, Single_Stub

HELLO = Number(value=1)


def test_a_service_is_called(answers, face):
    with channel_for(answers) as channel:
        assert face.call(channel, "push", Controller(timeout=5), HELLO) == (HELLO, None)
        controller = Controller()
        face.call(channel, "fail", controller, Number(value=1, note="no such game"))
        assert controller.code is Code.INTERNAL
        assert "no such game" in controller.ErrorText()
        face.call(channel, "left_out", controller, HELLO)
        assert controller.code is Code.UNIMPLEMENTED
    assert answers.values == [1]


def test_over_every_protocol(answers, protocol):
    with channel_for(answers, protocol=protocol) as channel:
        stub = Numbers_Stub(channel)
        assert [stub.push(None, Number(value=value)).value for value in range(50)] == [*range(50)]


class One(Single):
    def only(self, rpc_controller, request, done):
        done(Number(value=-request.value))


def test_several_services(answers):
    with channel_for(answers, One()) as channel:
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO
        assert Single_Stub(channel).only(None, HELLO) == Number(value=-1)


def test_async_handlers_and_awaited_calls(answers):
    class Async(testing_pb2.Numbers):
        async def push(self, rpc_controller, request, done):
            await asyncio.sleep(0)
            return request

    async def main():
        with channel_for(Async()) as channel:
            stub = Numbers_Stub(callmethod.aio.awaitable(channel))
            return await asyncio.gather(*(stub.push(None, Number(value=v)) for v in range(20)))

    assert [number.value for number in asyncio.run(main())] == list(range(20))
    with channel_for(Async()) as channel:
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO


def test_the_whole_way_of_a_call(numbers):
    """Deadline, metadata and attachment are those of a call over the network."""
    seen = []

    def push(rpc_controller, request, done):
        seen.append((rpc_controller.time_remaining(), rpc_controller.metadata))
        rpc_controller.response_attachment = rpc_controller.request_attachment
        done(request)

    with channel_for(numbers(push=push)) as channel:
        controller = Controller(timeout=3, metadata={"k": "v"}, request_attachment=b"raw")
        assert Numbers_Stub(channel).push(controller, HELLO) == HELLO
    [(left, metadata)] = seen
    assert 0 < left <= 3
    assert metadata == {"k": "v"}
    assert controller.response_attachment == b"raw"


def test_its_options_count(answers):
    with channel_for(answers, options=ChannelOptions(timeout=0.1)) as channel:
        with pytest.raises(RpcError) as caught:
            Numbers_Stub(channel).twice(None, HELLO)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_the_message_is_a_copy(numbers):
    kept = []

    def push(rpc_controller, request, done):
        kept.append(request)
        done(request)

    with channel_for(numbers(push=push)) as channel:
        sent = Number(value=1)
        answer = Numbers_Stub(channel).push(None, sent)
    assert answer == sent == kept[0]
    assert answer is not sent
    assert kept[0] is not sent


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_no_port_is_opened(answers, wait_until):
    def sockets():
        return {
            str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if is_inet(entry)
        }

    def is_inet(entry):
        try:
            with socket.socket(fileno=int(entry.name)) as one:
                family = one.family
                one.detach()
        except OSError:
            return False
        return family in {socket.AF_INET, socket.AF_INET6}

    before = sockets()
    with channel_for(answers) as channel:
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO
        assert sockets() - before == set()


def test_the_end_of_the_channel_is_the_server_s(answers, wait_until):
    threads = threading.active_count()
    for _ in range(3):
        channel = channel_for(answers)
        Numbers_Stub(channel).push(None, HELLO)
        channel.close()
        channel.close()
        with pytest.raises(RpcError, match="closed"):
            Numbers_Stub(channel).push(None, HELLO)
    wait_until(lambda: threading.active_count() <= threads + 1)


def test_many_at_once(answers_class):
    channels = [channel_for(answers_class()) for _ in range(20)]
    for value, channel in enumerate(channels):
        assert Numbers_Stub(channel).push(None, Number(value=value)).value == value
    for channel in channels:
        channel.close()


def test_mistakes_are_those_of_add_service(answers):
    with pytest.raises(TypeError, match="(?i)stub"):
        channel_for(Numbers_Stub(None))
    with pytest.raises(TypeError, match="(?i)class"):
        channel_for(testing_pb2.Numbers)
    with pytest.raises(ValueError, match="Numbers"):
        channel_for(answers, type(answers)())
