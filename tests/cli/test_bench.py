"""`callmethod bench`: load from Rust."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

TWICE = "callmethod.testing.Numbers.twice"
SHORT = ["--duration", "0.3", "--warmup", "0.05"]


@pytest.mark.parametrize("protocol", ["baidu_std", "indexed:id_width=4,reply=by_id"])
def test_calls_are_counted_and_timed(run, numbers, proto: str, protocol: str) -> None:
    before = numbers.stats()["calls_total"]
    words = [TWICE, '{"value": 1}', *SHORT, "--protocol", protocol, "--proto", proto, "--json"]
    words += ["--connections", "2", "--in-flight", "3"]
    ended = run("bench", numbers.address, *words)
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert report["failed"] == 0
    made = sum(numbers.stats()["calls_total"].values()) - sum(before.values())
    assert 10 < report["calls"] <= made
    assert report["seconds"] == pytest.approx(0.3, abs=0.2)
    quantiles = list(report["quantiles_us"].values())
    assert 0 < quantiles[0] <= quantiles[-1] <= report["max_us"] * 1.01
    assert report["calls_per_s"] == pytest.approx(report["calls"] / report["seconds"])


def test_a_table_for_people_and_the_servers_own_types(run, numbers) -> None:
    ended = run("bench", numbers.address, TWICE, '{"value": 1}', "--calls", "50")
    first, *rest = ended.out.splitlines()
    assert first.startswith("50 calls in ")
    assert [line.split()[0] for line in rest[:4]] == ["mean", "50.00%", "75.00%", "90.00%"]


def test_calls_that_fail_are_counted(run, numbers, proto: str) -> None:
    words = ["callmethod.testing.Numbers.fail", '{"value": 7}', *SHORT, "--proto", proto]
    ended = run("bench", numbers.address, *words, "--json")
    report = json.loads(ended.out)
    assert report["failed"] == report["calls"] > 0
    ((text, times),) = report["failures"].items()
    assert text.endswith("no 7\\x1b[31m")
    assert times == report["calls"]
    assert " failed: " in run("bench", numbers.address, *words).out


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "status", "told"),
        [
            (["--protocol", "hulu_pbrpc"], 2, "the load is for baidu_std or indexed"),
            (["--protocol", "indexed"], 2, "the load is for baidu_std or indexed"),
            (["--in-flight", "1001"], 2, "1 to 1000, not 1001"),
            (["--connections", "0"], 2, "no whole number from 1 on"),
            (["--timeout", "nan"], 2, "no number of seconds"),
        ],
    )
    def test_of_usage(self, run, numbers, proto, words, status, told) -> None:
        ended = run("bench", numbers.address, TWICE, '{"value": 1}', "--proto", proto, *words)
        assert (ended.status, ended.out) == (status, "")
        assert told in ended.err

    def test_no_server(self, run, proto: str) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        ended = run("bench", f"127.0.0.1:{port}", TWICE, '{"value": 1}', "--proto", proto)
        assert ended.status == 64 + 14
        assert "Connection refused" in ended.err
        assert run("bench", "unix:/x", TWICE, '{"value": 1}', "--proto", proto).status == 2

    def test_a_server_that_hangs_up(self, run, proto: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def hang_up() -> None:
                listener.accept()[0].close()

            thread = threading.Thread(target=hang_up)
            thread.start()
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            ended = run("bench", target, TWICE, '{"value": 1}', "--proto", proto)
            thread.join()
        assert ended.status == 6
        assert "closed" in ended.err or "lost" in ended.err


def test_a_terminal_has_a_line_that_moves_and_ctrl_c_ends_it(numbers, proto: str) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("a shell that starts this in the background has Ctrl-C ignored")
    parent, child = pty.openpty()
    words = ["bench", numbers.address, TWICE, '{"value": 1}', "--proto", proto]
    with subprocess.Popen(
        [sys.executable, "-m", "callmethod", *words, "--duration", "60", "--warmup", "0"],
        stdout=subprocess.PIPE,
        stderr=child,
    ) as process:
        os.close(child)
        seen = b""
        while b" calls " not in seen:
            seen += os.read(parent, 4096)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        assert process.wait(timeout=20) == 130
        assert time.monotonic() - begun < 5
    os.close(parent)
    assert b"\r\x1b[K" in seen
