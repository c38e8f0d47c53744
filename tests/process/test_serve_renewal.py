"""SIGHUP: new workers for old ones, while callers call."""

import functools
import signal
import time

import pytest


@pytest.mark.parametrize("calls_per_channel", [10**9, 1], ids=["kept channels", "a channel a call"])
def test_a_rolling_restart_under_load_loses_no_call(
    serve, load, gone, wait_until, calls_per_channel
):
    served = serve(workers=3).up()
    one = load(served.address, calls_per_channel=calls_per_channel)
    for _ in range(2):
        before = served.pids()
        served.script.send(signal.SIGHUP)
        served.until("log INFO rolling restart ends")
        wait_until(functools.partial(gone, before), 10)
        after = served.pids()
        assert len(after) == 3
        assert not after & before
    time.sleep(0.2)
    assert one.stop() == []
    assert one.answered()[-1] in after
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)


def test_the_new_worker_accepts_before_the_old_one_drains(serve, pid_of):
    served = serve(workers=1).up()
    (old,) = served.pids()
    served.script.send(signal.SIGHUP)
    served.until("log INFO worker ended")
    ups = [line for line in served.log if "worker accepts" in line or "worker ended" in line]
    (new,) = served.pids()
    assert [line.split()[-1] if "accepts" in line else line for line in ups[:2]] == [
        f"pid={old}",
        f"pid={new}",
    ]
    assert f"pid={old} reason='exit code 0'" in ups[2]
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)


def test_new_code_that_does_not_come_up_leaves_the_old_workers(
    serve, load, gone, wait_until, tmp_path
):
    served = serve(workers=2).up()
    one = load(served.address, callers=4)
    before = served.pids()
    app = tmp_path / "app.py"
    good = app.read_text()
    app.write_text("raise LookupError('version 2 is broken')\n")
    served.script.send(signal.SIGHUP)
    served.until("log ERROR rolling restart given up")
    assert served.logged("LookupError: version 2 is broken")
    time.sleep(0.3)
    assert served.pids() == before
    # And once it is repaired:
    app.write_text(good)
    served.script.send(signal.SIGHUP)
    served.until("log INFO rolling restart ends")
    wait_until(lambda: gone(before), 10)
    assert len(served.pids()) == 2
    assert one.stop() == []
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)
