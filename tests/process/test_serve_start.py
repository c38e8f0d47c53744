"""Workers that do not come up: said once and at length, and never tried again in a hot loop."""

import itertools
import re
import signal
import time

import pytest

from callmethod._orders import TRACEBACK_CHARACTERS, Report
from callmethod._place import STABLE_SECONDS, Place

BAD = """
def raises():
    raise LookupError("no database")


def no_service():
    return 7


def nothing():
    pass


def a_class():
    return Pids


def started():
    server = callmethod.Server()
    server.add_service(Pids())
    server.start()
    return server


def of_its_own():
    server = callmethod.Server("127.0.0.1:1")
    server.add_service(Pids())
    return server


def empty():
    return []


def leaves():
    os._exit(3)


def sys_exit():
    raise SystemExit("enough")


async def awaits():
    raise LookupError("no loop")


def hangs():
    time.sleep(60)


value = 7
"""

CAUGHT = """
import traceback


def report(*exc):
    text = "".join(traceback.format_exception(*exc))
    say("raised", text.replace("\\n", "|"))
    sys.exit(9)


sys.excepthook = lambda *exc: report(*exc)
"""


def fails(serve, name, timeout=20.0, **options):
    """What was raised, all in one line, after as many starts as there are workers."""
    started = time.monotonic()
    served = serve(name, app=BAD, program=CAUGHT, **options)
    text = served.until("raised", timeout)
    code, left, errors, _ = served.script.end()
    assert (code, left, errors) == (9, [], "")
    assert time.monotonic() - started < timeout
    assert not any(line.startswith("ready") for line in served.log)
    return text, served


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raises", "LookupError: no database"),
        ("awaits", "LookupError: no loop"),
        ("no_service", "TypeError: app:no_service gives a service, a list of services, or"),
        ("nothing", "TypeError: app:nothing gives .*; it gave None"),
        ("a_class", "TypeError: app:a_class gives .* Pids is a class; pass an instance"),
        ("started", "RuntimeError: the server was started"),
        ("of_its_own", "ValueError: the server names a place of its own.*127.0.0.1:1"),
        ("empty", "ValueError: there is nothing to serve"),
        ("missing", "AttributeError: module 'app' has no attribute 'missing'"),
        ("value", "TypeError: app:value is a factory's name, and there is 7"),
        ("sys_exit", "SystemExit: enough"),
    ],
)
def test_what_the_factory_did_is_raised_with_its_traceback(serve, name, expected):
    text, served = fails(serve, f"app:{name}", workers=3)
    assert re.search(rf"RuntimeError: no worker came up: app:{name}: {expected}", text), text
    # Three workers failed, and one traceback is shown.
    assert text.count("WorkerTraceback") == 1
    assert len(served.logged("worker failed to start")) == 1


def test_a_module_that_does_not_import(serve):
    text, _ = fails(serve, "nowhere.to_be:found")
    assert "no worker came up: nowhere.to_be:found: ModuleNotFoundError: No module" in text


def test_a_module_that_raises(serve, tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\n1 / 0\n")
    text, _ = fails(serve, "broken:make")
    assert "ZeroDivisionError" in text
    assert 'broken.py", line 2' in text


def test_a_worker_that_dies_before_it_accepts(serve):
    text, _ = fails(serve, "app:leaves")
    assert "the worker ended before it accepted: exit code 3" in text


def test_a_worker_that_takes_too_long(serve):
    text, _ = fails(serve, "app:hangs", start_timeout=0.5)
    assert "it did not accept within 0.5 s" in text


def test_a_program_without_a_guard(serve):
    """Each worker would call serve() again."""
    program = """
def make():
    pass


if __name__ != "__main__":
    callmethod.serve(make)
"""
    text, _ = fails_in(serve(program=program + CAUGHT, factory="make"))
    assert "RuntimeError: serve() was called in a worker" in text


def fails_in(served):
    text = served.until("raised")
    code, _, errors, _ = served.script.end()
    assert (code, errors) == (9, "")
    return text, served


# One worker comes up, when the other has failed; that one fails until the file is there.
SOMETIMES = """
import pathlib

here = pathlib.Path(__file__).parent


def sometimes():
    try:
        (here / "first").mkdir()
    except FileExistsError:
        if not (here / "allowed").exists():
            (here / f"failed_{os.getpid()}").touch()
            raise LookupError("not now") from None
    while not list(here.glob("failed_*")):
        time.sleep(0.01)
    time.sleep(0.5)  # until that is known
    return make()
"""


def test_a_place_whose_worker_fails_is_tried_again_with_a_growing_pause(
    serve, pid_of, wait_until, tmp_path
):
    served = serve("app:sometimes", app=SOMETIMES).up()
    first = pid_of(served.address)
    wait_until(lambda: len(list(tmp_path.glob("failed_*"))) >= 6, 60)
    times = sorted(path.stat().st_mtime for path in tmp_path.glob("failed_*"))
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    # Those are what the pauses are at least; the start of an interpreter comes on top.
    assert all(pause > 0.05 * 2**i for i, pause in enumerate(pauses)), pauses
    (tmp_path / "allowed").touch()
    served.until("log INFO worker accepts", 30)
    assert len(served.pids()) == 2
    assert first in served.pids()
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)
    # Each failure has its line; the traceback is there once.
    assert len(served.logged("worker failed to start")) >= 6
    assert len(served.logged("Traceback")) == 1


def test_a_failed_start_is_not_tried_again_before_a_worker_has_come_up(serve, tmp_path):
    app = """
import pathlib

here = pathlib.Path(__file__).parent


def slow_or_not():
    (here / f"started_{os.getpid()}").touch()
    try:
        (here / "first").mkdir()
        time.sleep(2)
    except FileExistsError:
        pass
    raise LookupError("no database")
"""
    served = serve("app:slow_or_not", app=app, program=CAUGHT, workers=2)
    fails_in(served)
    assert len(list(tmp_path.glob("started_*"))) == 2


def test_the_reason_is_the_line_that_names_the_error():
    with pytest.raises(SyntaxError) as caught:
        compile("1 +", "x.py", "exec")
    if hasattr(caught.value, "add_note"):
        caught.value.add_note("this is about x")
    report = Report.of(caught.value)
    assert report.reason == "SyntaxError: invalid syntax (x.py, line 1)"
    assert 'File "x.py", line 1' in report.traceback
    long = Report.of(ValueError("x" * 10**6))
    assert len(long.to_line()) < 2 * TRACEBACK_CHARACTERS


def test_pauses_between_failures():
    place = Place()
    for most in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0):
        place.fail()
        assert most / 2 - 0.05 < place.not_before - time.monotonic() <= most
    place.lose(STABLE_SECONDS - 1)
    assert place.failures == 10
    place.lose(STABLE_SECONDS)
    assert place.failures == 0
    place.fail()
    assert place.not_before - time.monotonic() <= 0.1


def test_workers_that_die_young_are_replaced_with_a_pause(serve, gone):
    app = """
import threading


def brief():
    threading.Timer(0.5, os._exit, (5,)).start()
    return make()
"""
    served = serve("app:brief", app=app, workers=1).up()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        served.until("log WARNING worker lost", 10)
    lost = served.logged("worker lost")
    assert 2 <= len(lost) <= 8, lost
    assert "reason='exit code 5'" in lost[0]
    assert f"replaced_total={len(lost)}" in lost[-1]
    served.script.send(signal.SIGTERM)
    replaced, _ = served.returned()
    assert replaced >= len(lost)
