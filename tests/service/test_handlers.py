"""How a handler ends its call, and what each ending is on a wire without answers.

Nobody is told, so each outcome is read in a counter, in the log, or in the exception that the
handler itself meets. What the handler is given is in test_handler_context.py.
"""

import gc
import logging
import threading

import pytest

from callmethod import Code, RpcError
from testing_pb2 import Blob, Number, Numbers

HELLO = Number(value=1)


class Unprintable(Exception):
    def __str__(self):
        raise LookupError("no text for you")


@pytest.fixture
def played(numbers, server_factory, raw_socket, frame, wait_until, caplog):
    """``played(handler, calls=1)``: the server's stats once a handler has ended that many calls."""
    caplog.set_level(logging.DEBUG, "callmethod")

    def play(handler, calls=1, index=0):
        service = numbers(handler) if callable(handler) else handler
        server = server_factory(service)
        sock = raw_socket(server.address)
        sock.sendall(frame(index, HELLO) * calls)
        wait_until(lambda: gc.collect() >= 0 and ended(server) >= calls)
        stats = server.stats()
        assert ended(server) == calls, "a call ended twice"
        assert stats["calls_in_flight"] == 0
        assert stats["connections"] == 1, "the connection is kept, however a handler ends"
        assert stats["panics_total"] == 0
        stats["calls_total"] = {key: count for key, count in stats["calls_total"].items() if count}
        return stats

    def ended(server):
        return sum(server.stats()["calls_total"].values())

    return play


@pytest.fixture
def errors(caplog, wait_until):
    """``errors(count)``: the ERROR records of callmethod, when there are that many."""

    def get(count):
        def now():
            return [
                record
                for record in caplog.records
                if record.name.startswith("callmethod") and record.levelno >= logging.ERROR
            ]

        wait_until(lambda: len(now()) >= count)
        assert len(now()) == count
        return now()

    return get


def test_done_at_once(played, errors):
    stats = played(lambda controller, request, done: done(request), calls=3)
    assert stats["calls_total"] == {"ok": 3}
    assert stats["responses_discarded_total"] == 3
    assert stats["late_endings_total"] == 0
    errors(0)


def test_the_first_discarded_response_of_a_method_is_logged(
    server_factory, raw_socket, frame, wait_until, caplog
):
    caplog.set_level(logging.DEBUG, "callmethod")

    class Service(Numbers):
        def push(self, rpc_controller, request, done):
            done(request)

        twice = push

    server = server_factory(Service())
    sock = raw_socket(server.address)
    sock.sendall((frame(0, HELLO) + frame(1, HELLO)) * 5)
    wait_until(lambda: server.stats()["responses_discarded_total"] == 10)

    def told():
        texts = [record.getMessage() for record in caplog.records]
        return [text for text in texts if "discard" in text]

    wait_until(lambda: len(told()) == 2)
    server.stop(grace=0)
    assert len(told()) == 2
    assert sum("push" in text for text in told()) == 1
    assert sum("twice" in text for text in told()) == 1


def test_done_later_from_another_thread(numbers, server_factory, raw_socket, frame, wait_until):
    kept = []
    server = server_factory(numbers(lambda controller, request, done: kept.append(done)))
    raw_socket(server.address).sendall(frame(0, HELLO))
    wait_until(lambda: kept)
    assert not any(server.stats()["calls_total"].values())
    assert server.stats()["calls_in_flight"] == 1
    thread = threading.Thread(target=kept[0], args=(HELLO,))
    thread.start()
    thread.join()
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)
    assert server.stats()["calls_total"]["ok"] == 1


def test_a_done_that_is_kept_holds_up_no_other_call(
    numbers, server_factory, raw_socket, frame, wait_until
):
    kept = []
    server = server_factory(numbers(lambda controller, request, done: kept.append(done)))
    raw_socket(server.address).sendall(frame(0, HELLO) * 20)
    wait_until(lambda: len(kept) == 20)
    assert server.stats()["calls_in_flight"] == 20
    while kept:
        kept.pop()(None)
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)


def test_a_returned_message(played, errors):
    stats = played(lambda controller, request, done: Number(value=2))
    assert stats["calls_total"] == {"ok": 1}
    assert stats["responses_discarded_total"] == 1
    errors(0)


def test_done_of_none_is_no_failure_here(played, errors):
    stats = played(lambda controller, request, done: done(None))
    assert stats["calls_total"] == {"ok": 1}
    assert stats["responses_discarded_total"] == 0
    errors(0)


def test_the_first_of_two_ways_wins(played, errors):
    def handler(controller, request, done):
        done(request)
        return Number(value=2)

    stats = played(handler)
    assert stats["calls_total"] == {"ok": 1}
    assert stats["responses_discarded_total"] == 1
    assert stats["late_endings_total"] == 1
    errors(0)


def test_done_twice_raises_in_the_handler(played, errors):
    raised = []

    def handler(controller, request, done):
        done(request)
        with pytest.raises(RuntimeError, match="done") as caught:
            done(request)
        raised.append(caught.value)

    stats = played(handler)
    assert len(raised) == 1
    assert stats["calls_total"] == {"ok": 1}
    assert stats["responses_discarded_total"] == 1
    errors(0)


def test_done_and_then_an_exception(played, errors):
    error = LookupError("after the end")

    def handler(controller, request, done):
        done(request)
        raise error

    stats = played(handler)
    assert stats["calls_total"] == {"ok": 1}
    assert stats["late_endings_total"] == 1
    [record] = errors(1)
    assert record.exc_info[1] is error


def test_a_dropped_done_is_unanswered(played, errors):
    stats = played(lambda controller, request, done: None, calls=4)
    assert stats["calls_total"] == {"unanswered": 4}
    assert stats["responses_discarded_total"] == 0
    errors(0)


def test_a_done_in_a_cycle_ends_with_the_garbage_collection(played, errors):
    def handler(controller, request, done):
        controller.kept = [done, controller]

    assert played(handler)["calls_total"] == {"unanswered": 1}
    errors(0)


@pytest.mark.parametrize(
    "error",
    [ValueError("no such player"), SystemExit(3), KeyboardInterrupt(), Unprintable("x")],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_is_internal_and_logged_with_its_traceback(played, errors, error):
    def handler(controller, request, done):
        raise error

    stats = played(handler, calls=2)
    assert stats["calls_total"] == {"INTERNAL": 2}
    for record in errors(2):
        assert record.exc_info[1] is error
        assert record.exc_info[2] is not None
        assert "callmethod.testing.Numbers" in record.getMessage()
        assert "push" in record.getMessage()


def test_a_raised_rpc_error_chooses_its_code(played, caplog, wait_until):
    def handler(controller, request, done):
        raise RpcError(Code.NOT_FOUND, "no number like that")

    stats = played(handler)
    assert stats["calls_total"] == {"NOT_FOUND": 1}
    wait_until(lambda: any("no number like that" in r.getMessage() for r in caplog.records))


def test_set_failed_is_internal_with_its_text(played, errors):
    seen = []

    def handler(controller, request, done):
        controller.SetFailed("the board is full")
        seen.append((controller.Failed(), controller.ErrorText()))
        done(None)

    stats = played(handler)
    assert seen == [(True, "the board is full")]
    assert stats["calls_total"] == {"INTERNAL": 1}
    assert "the board is full" in errors(1)[0].getMessage()


def test_a_response_after_set_failed_comes_too_late(played, errors):
    def handler(controller, request, done):
        controller.SetFailed("the board is full")
        done(request)

    stats = played(handler)
    assert stats["calls_total"] == {"INTERNAL": 1}
    assert stats["responses_discarded_total"] == 0
    errors(1)


def test_a_method_left_out_is_unimplemented(played, errors):
    class Empty(Numbers):
        pass

    stats = played(Empty(), calls=2, index=3)
    assert stats["calls_total"] == {"UNIMPLEMENTED": 2}
    for record in errors(2):
        assert "left_out" in record.getMessage()
        assert not record.exc_info


@pytest.mark.parametrize(
    "response", [Blob(data=b"x"), "text", Number], ids=["other message", "text", "class"]
)
@pytest.mark.parametrize("returned", [False, True], ids=["done", "returned"])
def test_a_response_of_the_wrong_type_is_internal(played, errors, response, returned):
    def handler(controller, request, done):
        if returned:
            return response
        done(response)
        return None

    stats = played(handler)
    assert stats["calls_total"] == {"INTERNAL": 1}
    assert stats["responses_discarded_total"] == 0
    assert "Number" in errors(1)[0].getMessage()


@pytest.mark.parametrize("returned", [False, True], ids=["done", "returned"])
def test_a_response_that_misses_a_field_is_internal(played, errors, returned):
    def handler(controller, request, done):
        if returned:
            return Number(note="no value")
        done(Number(note="no value"))
        return None

    stats = played(handler)
    assert stats["calls_total"] == {"INTERNAL": 1}
    assert "value" in errors(1)[0].getMessage()


def test_a_failed_call_leaves_the_next_ones_alone(played, errors):
    turns = iter(range(6))

    def handler(controller, request, done):
        turn = next(turns)
        if turn == 1:
            raise LookupError("in the second")
        if turn == 3:
            controller.SetFailed("in the fourth")
            done(None)
        elif turn != 5:
            done(request)

    stats = played(handler, calls=6)
    assert stats["calls_total"] == {"ok": 3, "INTERNAL": 2, "unanswered": 1}
    errors(2)


def test_done_takes_one_response_by_position_and_what_is_no_call_of_it_ends_nothing(played):
    refused = []

    def handler(controller, request, done):
        for args, kwargs in (((request, request), {}), ((), {"response": request})):
            with pytest.raises(TypeError, match="done takes the response"):
                done(*args, **kwargs)
            refused.append(args)
        done(request)

    assert played(handler, calls=2)["calls_total"] == {"ok": 2}
    assert len(refused) == 4


@pytest.mark.parametrize("keyword", [False, True], ids=["positional", "keyword"])
def test_a_service_that_overrides_call_method_gets_it(played, keyword):
    seen = []

    class Override(Numbers):
        def CallMethod(self, method_descriptor, rpc_controller, request, done):
            seen.append((method_descriptor.full_name, request.value))
            if keyword:
                done(request)
            else:
                super().CallMethod(method_descriptor, rpc_controller, request, done)

        def push(self, rpc_controller, request, done):
            done(request)

    stats = played(Override(), calls=2)
    assert seen == [("callmethod.testing.Numbers.push", 1)] * 2
    assert stats["calls_total"] == {"ok": 2}


def test_what_a_call_method_of_the_user_raises_is_internal(played, errors):
    error = LookupError("not routed")

    class Override(Numbers):
        def CallMethod(self, *arguments):
            raise error

    assert played(Override())["calls_total"] == {"INTERNAL": 1}
    assert errors(1)[0].exc_info[1] is error
