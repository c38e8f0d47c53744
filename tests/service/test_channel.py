"""The connection of a channel: when it is made, waited for, made again, and closed.

What a call does on it is in test_calls.py, whom it tells in test_controllers.py.
"""

import socket
import time

import pytest

import callmethod
from callmethod import ChannelOptions, Code, Controller, Indexed, RpcError
from testing_pb2 import Number, Numbers_Stub

PATIENT = ChannelOptions(timeout=10.0)
IMPATIENT = ChannelOptions(wait_for_ready=False)


@pytest.mark.parametrize("target", ["", "127.0.0.1", "127.0.0.1:many", "127.0.0.1:70000", "unix:"])
def test_what_is_no_target_is_refused(target):
    with pytest.raises(ValueError):
        callmethod.Channel(target, protocol=Indexed())


@pytest.mark.parametrize(
    "layout", [{"id_width": 4, "reply": "by_id"}, {"reply": "in_order"}], ids=str
)
def test_layouts_with_answers_have_no_way_back(layout, recorder):
    with pytest.raises(ValueError, match="service"):
        callmethod.Channel("127.0.0.1:1", protocol=Indexed(**layout), service=recorder)


def test_a_stub_is_no_service_for_the_way_back():
    with pytest.raises(TypeError, match="(?i)stub"):
        callmethod.Channel("127.0.0.1:1", protocol=Indexed(), service=Numbers_Stub(None))


def test_a_channel_connects_when_it_is_first_used(channel_factory, holder, refusing):
    holder.listen()
    channel = channel_factory(refusing)
    assert channel.target == refusing
    assert channel.connected is False
    holder.settimeout(0.2)
    with pytest.raises(TimeoutError):
        holder.accept()
    Numbers_Stub(channel).push(None, Number(value=1))
    assert channel.connected is True
    holder.settimeout(5)
    holder.accept()[0].close()


def test_connect_makes_the_one_connection(server_factory, channel_factory, recorder, wait_until):
    server = server_factory(recorder)
    channel = channel_factory(server.address)
    channel.connect()
    channel.connect(timeout=1)
    assert channel.connected is True
    Numbers_Stub(channel).push(None, Number(value=1))
    wait_until(lambda: recorder.values == [1])
    assert server.stats()["connections_total"] == 1
    assert channel.stats()["connects_total"] == 1


def test_connect_says_why_it_could_not(channel_factory, refusing):
    channel = channel_factory(refusing)
    started = time.monotonic()
    with pytest.raises(RpcError, match="(?i)refused") as caught:
        channel.connect(timeout=0.3)
    assert time.monotonic() - started < 3
    assert caught.value.code in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}
    assert channel.connected is False
    assert channel.stats()["connect_failures_total"] >= 1


def test_a_unix_target(server_factory, channel_factory, recorder, wait_until, tmp_path):
    server = server_factory(recorder, bind=f"unix:{tmp_path}/s")
    channel = channel_factory(server.address)
    Numbers_Stub(channel).push(None, Number(value=1))
    wait_until(lambda: recorder.values == [1])


def test_a_call_waits_for_a_server_that_is_away(
    server_factory, channel_factory, recorder, holder, refusing, in_thread, wait_until
):
    channel = channel_factory(refusing, options=PATIENT)
    result = in_thread(lambda: Numbers_Stub(channel).push(None, Number(value=9)))
    wait_until(lambda: channel.stats()["connect_failures_total"] >= 2)
    assert recorder.values == []
    holder.listen()
    server_factory(recorder, bind=holder)
    assert result() is None
    wait_until(lambda: recorder.values == [9])


def test_calls_that_waited_keep_their_order(
    server_factory, channel_factory, recorder, holder, refusing, wait_until
):
    channel = channel_factory(refusing, options=PATIENT)
    ended = []
    for value in range(50):
        Numbers_Stub(channel).push(None, Number(value=value), ended.append)
    holder.listen()
    server_factory(recorder, bind=holder)
    wait_until(lambda: len(recorder.values) == 50)
    assert recorder.values == list(range(50))
    wait_until(lambda: ended == [None] * 50)


def test_a_deadline_spent_on_connecting_names_the_last_error(channel_factory, refusing):
    channel = channel_factory(refusing)
    controller = Controller(timeout=0.4)
    started = time.monotonic()
    with pytest.raises(RpcError, match="(?i)refused") as caught:
        Numbers_Stub(channel).push(controller, Number(value=1))
    assert 0.35 <= time.monotonic() - started < 2.5
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert controller.code is Code.DEADLINE_EXCEEDED
    assert controller.Failed()
    assert controller.ErrorText() == caught.value.text
    assert channel.stats()["calls_sent_total"] == 0


def test_what_timed_out_is_not_sent_later(
    server_factory, channel_factory, recorder, holder, refusing, wait_until
):
    stub = Numbers_Stub(channel_factory(refusing, options=PATIENT))
    with pytest.raises(RpcError):
        stub.push(Controller(timeout=0.1), Number(value=1))
    holder.listen()
    server_factory(recorder, bind=holder)
    stub.push(None, Number(value=2))
    wait_until(lambda: recorder.values)
    assert recorder.values == [2]


def test_without_wait_for_ready_a_call_fails_at_once(channel_factory, refusing):
    channel = channel_factory(refusing, options=IMPATIENT)
    started = time.monotonic()
    with pytest.raises(RpcError, match="(?i)refused") as caught:
        Numbers_Stub(channel).push(Controller(timeout=10), Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    assert time.monotonic() - started < 2


def test_a_channel_finds_the_server_again(server_factory, channel_factory, recorder, wait_until):
    first = server_factory(recorder)
    channel = channel_factory(first.address)
    stub = Numbers_Stub(channel)
    for round_ in range(3):
        server = first if round_ == 0 else server_factory(recorder, bind=first.address)
        stub.push(None, Number(value=round_))
        wait_until(lambda round_=round_: recorder.values == list(range(round_ + 1)))
        server.stop(grace=1)
        wait_until(lambda: not channel.connected)
    assert channel.stats()["connects_total"] == 3
    wait_until(lambda: sum(channel.stats()["disconnects_total"].values()) == 3)


def test_backoff_neither_spins_nor_sleeps_too_long(channel_factory, refusing):
    options = ChannelOptions(backoff_min=0.05, backoff_max=0.2)
    channel = channel_factory(refusing, options=options)
    with pytest.raises(RpcError):
        Numbers_Stub(channel).push(Controller(timeout=1.5), Number(value=1))
    # With at most 0.2 s between two tries there are seven; jitter may bring many more, but
    # a channel that does not wait makes thousands.
    assert 4 <= channel.stats()["connect_failures_total"] <= 80


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"backoff_min": 0.0},
        {"backoff_min": 2.0, "backoff_max": 1.0},
        {"connect_timeout": 0.0},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        callmethod.Channel(
            "127.0.0.1:1", protocol=Indexed(), options=ChannelOptions(**options)
        ).close()


def test_close_writes_what_was_accepted(server_factory, channel_factory, recorder, wait_until):
    server = server_factory(recorder)
    channel = channel_factory(server.address)
    stub = Numbers_Stub(channel)
    for value in range(2000):
        stub.push(None, Number(value=value))
    channel.close(grace=5)
    assert channel.connected is False
    wait_until(lambda: len(recorder.values) == 2000)
    assert recorder.values == list(range(2000))
    assert channel.stats()["calls_unsent_total"] == 0
    wait_until(lambda: server.stats()["disconnects_total"].get("peer_closed") == 1)


def test_a_call_after_close_is_unavailable(server_factory, channel_factory, recorder, wait_until):
    channel = channel_factory(server_factory(recorder).address)
    channel.connect()
    channel.close()
    channel.close()
    stub = Numbers_Stub(channel)
    with pytest.raises(RpcError, match="channel is closed") as caught:
        stub.push(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    controller = Controller()
    ended = []
    stub.push(controller, Number(value=1), ended.append)
    wait_until(lambda: ended)
    assert ended == [None]
    assert controller.code is Code.UNAVAILABLE
    assert "channel is closed" in controller.ErrorText()
    with pytest.raises(RpcError, match="channel is closed"):
        channel.connect()
    assert recorder.values == []


def test_close_ends_the_calls_that_wait(channel_factory, refusing, in_thread, wait_until):
    channel = channel_factory(refusing)
    controller = Controller(timeout=30)
    result = in_thread(lambda: Numbers_Stub(channel).push(controller, Number(value=1)))
    wait_until(lambda: channel.stats()["connect_failures_total"] >= 1)
    channel.close()
    with pytest.raises(RpcError) as caught:
        result(timeout=3)
    assert caught.value.code is Code.UNAVAILABLE
    assert controller.code is Code.UNAVAILABLE


def test_close_waits_no_longer_than_its_grace(channel_factory, holder, refusing):
    holder.listen()
    channel = channel_factory(refusing)
    stub = Numbers_Stub(channel)
    note = "x" * 1_000_000
    for value in range(20):  # nobody reads: more than the kernel takes for us
        stub.push(None, Number(value=value, note=note), lambda response: None)
    started = time.monotonic()
    channel.close(grace=0.2)
    assert time.monotonic() - started < 3
    # the lost ones are told apart from the sent ones
    stats = channel.stats()
    assert stats["calls_unsent_total"] > 0 or stats["calls_sent_total"] < 20


def test_a_channel_is_a_context_manager(server_factory, recorder, wait_until):
    server = server_factory(recorder)
    with callmethod.Channel(server.address, protocol=Indexed()) as channel:
        Numbers_Stub(channel).push(None, Number(value=1))
        wait_until(lambda: recorder.values == [1])
    assert channel.connected is False
    with pytest.raises(RpcError, match="channel is closed"):
        Numbers_Stub(channel).push(None, Number(value=2))


def test_a_subclass_may_have_any_init(server_factory, recorder, wait_until):
    class ToPort(callmethod.Channel):
        def __init__(self, port, name):
            super().__init__(f"127.0.0.1:{port}", protocol=Indexed())
            self.name = name

    server = server_factory(recorder)
    with ToPort(int(server.address.rsplit(":", 1)[1]), "to the games") as channel:
        assert channel.name == "to the games"
        Numbers_Stub(channel).push(None, Number(value=1))
        wait_until(lambda: recorder.values == [1])


def test_a_peer_that_closes_is_noticed_without_a_call(
    channel_factory, holder, refusing, wait_until
):
    holder.listen()
    channel = channel_factory(refusing)
    channel.connect()
    accepted, _ = holder.accept()
    accepted.shutdown(socket.SHUT_RDWR)
    accepted.close()
    wait_until(lambda: not channel.connected)
    wait_until(lambda: channel.stats()["disconnects_total"].get("peer_closed") == 1)
