"""`callmethod.services`: what it makes is what protobuf makes; protobuf's own classes judge."""

from __future__ import annotations

import abc
import gc
import inspect
import os
import signal
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

import callmethod
import testing_pb2
import testing_plain_pb2
from callmethod import service_classes
from callmethod.stubs import OneWay, one_way
from testing_pb2 import Number

OURS = callmethod.services(testing_pb2)
DESCRIPTOR = testing_pb2.DESCRIPTOR.services_by_name["Numbers"]
PUSH = DESCRIPTOR.methods_by_name["push"]
OTHER = testing_pb2.DESCRIPTOR.services_by_name["Single"].methods[0]


@pytest.fixture(params=["protobuf", "callmethod"])
def classes(request: pytest.FixtureRequest) -> Any:
    """Either one's classes of testing.proto."""
    if request.param == "callmethod":
        return OURS
    if callmethod.service.Service in testing_pb2.Numbers.__mro__:
        pytest.skip("the suite runs with callmethod's classes in the place of protobuf's")
    return testing_pb2


class Channel:
    """Keeps what it is called with."""

    def CallMethod(self, *arguments: Any) -> Any:
        self.arguments = arguments
        return "returned"


class Controller:
    def SetFailed(self, reason: str) -> None:
        self.reason = reason


def parameters(function: Any) -> list[tuple[str, object]]:
    """Names and defaults behind the first one, which protobuf calls `inst`."""
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()][1:]


@pytest.mark.parametrize("name", list(OURS))
def test_they_have_the_attributes_of_protobufs(name: str) -> None:
    mine, theirs = getattr(OURS, name), getattr(testing_pb2, name)
    assert {each for each in dir(mine) if not each.startswith("__")} == {
        each for each in dir(theirs) if not each.startswith("__")
    }
    for attribute in ("__name__", "__qualname__", "__module__", "DESCRIPTOR"):
        assert getattr(mine, attribute) == getattr(theirs, attribute)
    assert mine.GetDescriptor() is theirs.GetDescriptor() is mine.DESCRIPTOR
    for each in dir(theirs):
        if inspect.isfunction(getattr(theirs, each)) and not each.startswith("__"):
            assert parameters(getattr(mine, each)) == parameters(getattr(theirs, each)), each


# What follows holds for protobuf's classes and for ours.


def test_a_method_that_was_left_out(classes: Any) -> None:
    controller, told = Controller(), []
    classes.Numbers().push(controller, Number(value=1), callback=told.append)
    assert (controller.reason, told) == ("Method push not implemented.", [None])


def test_call_method_calls_the_method(classes: Any) -> None:
    class Mine(classes.Numbers):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.name = name

        def push(self, rpc_controller: Any, request: Any, done: Any) -> Any:
            return (self.name, rpc_controller, request, done)

    mine = Mine("ada")
    assert isinstance(mine, classes.Numbers)
    assert mine.CallMethod(method_descriptor=PUSH, rpc_controller=1, request=2, done=3) == (
        "ada",
        1,
        2,
        3,
    )


def test_the_classes_of_a_method(classes: Any) -> None:
    service = classes.Numbers()
    blob = DESCRIPTOR.methods_by_name["blob"]
    assert service.GetRequestClass(PUSH) is service.GetResponseClass(PUSH) is Number
    assert service.GetRequestClass(method_descriptor=blob) is testing_pb2.Blob
    assert service.GetResponseClass(method_descriptor=blob) is testing_pb2.Blob


@pytest.mark.parametrize("name", ["CallMethod", "GetRequestClass", "GetResponseClass"])
def test_a_method_of_another_service(classes: Any, name: str) -> None:
    arguments = [None] * 3 if name == "CallMethod" else []
    with pytest.raises(RuntimeError, match="given method descriptor for wrong service type"):
        getattr(classes.Numbers(), name)(OTHER, *arguments)


def test_a_stub_calls_the_channel(classes: Any) -> None:
    channel = Channel()
    stub = classes.Numbers_Stub(rpc_channel=channel)
    request = Number(value=1)
    assert stub.rpc_channel is channel
    assert isinstance(stub, classes.Numbers)
    assert stub.push(None, request) == "returned"
    assert channel.arguments == (PUSH, None, request, Number, None)
    stub.push(rpc_controller=1, request=2, callback=3)
    assert channel.arguments == (PUSH, 1, 2, Number, 3)


@pytest.mark.parametrize("kind", ["a class", "a stub"])
def test_what_is_no_service_object_is_told(classes: Any, kind: str) -> None:
    wrong = classes.Numbers if kind == "a class" else classes.Numbers_Stub(Channel())
    with pytest.raises(TypeError, match=f"is {kind}"):
        callmethod.Server().add_service(wrong)


# And of `services` itself.


def test_a_module_a_file_and_a_service_give_the_same_classes() -> None:
    of_file = callmethod.services(testing_pb2.DESCRIPTOR)
    assert [of_file[name] for name in of_file] == [OURS[name] for name in OURS]
    pair = callmethod.services(DESCRIPTOR)
    assert pair == (OURS.Numbers, OURS.Numbers_Stub)
    assert (pair.service, pair.stub) == pair


def test_the_option_is_not_needed() -> None:
    assert not hasattr(testing_plain_pb2, "Plain")
    plain = callmethod.services(testing_plain_pb2)
    assert list(plain) == ["Plain", "Plain_Stub"]
    assert plain.Plain.__module__ == plain.Plain_Stub.__module__ == "testing_plain_pb2"
    assert plain.Plain().GetRequestClass(plain.Plain.DESCRIPTOR.methods[0]) is (
        testing_plain_pb2.Word
    )


def test_the_classes_by_name() -> None:
    plain = callmethod.services(testing_plain_pb2)
    assert plain["Plain"] is plain.Plain
    assert len(plain) == 2
    assert "Plain_Stub" in plain
    assert "Plane" not in plain
    assert {"Plain", "Plain_Stub"} <= set(dir(plain))
    assert repr(plain) == "<services: Plain, Plain_Stub>"
    wanted = "there is no class Plane of a service; there are: Plain, Plain_Stub"
    with pytest.raises(AttributeError, match=wanted):
        _ = plain.Plane
    with pytest.raises(KeyError, match=wanted):
        _ = plain["Plane"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (pytest, "pytest is no generated module"),
        (testing_pb2.Numbers, "not the class Numbers"),
        ("testing_pb2", "not str"),
        (None, "not NoneType"),
    ],
)
def test_what_has_no_services(wrong: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        callmethod.services(wrong)


def new_file(**names: list[str]) -> Any:
    """A file of a pool of its own, with services of the given names and methods."""
    file = descriptor_pb2.FileDescriptorProto(
        name="some/new-file.proto", package="fresh", syntax="proto3"
    )
    file.message_type.add(name="Word")
    for name, methods in names.items():
        service = file.service.add(name=name)
        for method in methods:
            service.method.add(name=method, input_type=".fresh.Word", output_type=".fresh.Word")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


def test_a_file_without_a_module() -> None:
    made = callmethod.services(new_file(Plain=["echo"]))
    assert made.Plain.__module__ == "some.new_file_pb2"
    assert made.Plain().GetRequestClass(made.Plain.DESCRIPTOR.methods[0]).DESCRIPTOR.full_name == (
        "fresh.Word"
    )


def test_names_that_clash() -> None:
    file = new_file(Twice=["echo"], Twice_Stub=["left"], Empty=[], keys=["echo"])
    made = callmethod.services(file)
    assert made.Twice_Stub.DESCRIPTOR.full_name == "fresh.Twice_Stub"
    assert not issubclass(made.Twice_Stub, callmethod.stubs.Stub)
    stub = callmethod.services(file.services_by_name["Twice"]).stub
    assert stub.DESCRIPTOR.full_name == "fresh.Twice"
    assert issubclass(stub, callmethod.stubs.Stub)
    assert made.keys.DESCRIPTOR.full_name == "fresh.keys"
    assert made.Empty.DESCRIPTOR.full_name == "fresh.Empty"


def test_a_service_may_be_abstract() -> None:
    class Mine(OURS.Numbers, abc.ABC):  # type: ignore[misc]
        @abc.abstractmethod
        def push(self, rpc_controller: Any, request: Any, done: Any) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Mine()


def test_threads_get_the_same_classes() -> None:
    file = new_file(Plain=["echo"])
    with ThreadPoolExecutor(8) as threads:
        all_made = list(threads.map(lambda _: callmethod.services(file).Plain_Stub, range(64)))
    assert len(set(all_made)) == 1


def test_a_child_of_a_fork_can_make_classes_whoever_held_the_lock() -> None:
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with service_classes._lock:
            held.set()
            let_go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12: a fork beside threads
        child = os.fork()
    if not child:
        signal.alarm(5)
        callmethod.services(new_file(Plain=["echo"]))
        os._exit(7)
    _, status = os.waitpid(child, 0)
    let_go.set()
    thread.join(10)
    assert os.waitstatus_to_exitcode(status) == 7


def test_classes_go_when_nobody_keeps_them() -> None:
    made = callmethod.services(new_file(Plain=["echo"]))
    gone = weakref.ref(made.Plain)
    stub = made.Plain_Stub
    del made
    gc.collect()
    assert gone() is not None, "the stub derives from it"
    del stub
    gc.collect()
    assert gone() is None


def test_a_stub_class_can_be_annotated_where_annotations_are_evaluated() -> None:
    alias: Any = OURS.Numbers_Stub[OneWay]
    assert type(alias(Channel())) is OURS.Numbers_Stub


def test_one_way_is_not_said_of_a_channel_with_answers() -> None:
    with callmethod.Channel("127.0.0.1:1", protocol=callmethod.Indexed()) as channel:
        assert one_way(channel) is channel
    own = Channel()
    assert one_way(own) is own
    with (
        callmethod.Channel("127.0.0.1:1") as channel,
        pytest.raises(ValueError, match="have answers; it is not one-way"),
    ):
        one_way(channel)
