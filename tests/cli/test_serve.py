"""`callmethod serve`: service classes without a program."""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tls"))  # tests run in importlib mode
authority = importlib.import_module("authority")

PROTO = """\
syntax = "proto3";
package greeter;
service Greeter { rpc Greet(Hello) returns (Welcome); }
message Hello { string name = 1; }
message Welcome { string text = 1; }
"""

GREETER = """\
import callmethod

proto = callmethod.load("greeter.proto")

class Greeter(proto.Greeter):
    def Greet(self, controller, request, done):
        done(proto.Welcome(text=f"hello {request.name}"))

async def later():
    return [Greeter()]

def server():
    made = callmethod.Server(None, protocols=[callmethod.BaiduStd()])
    made.add_service(Greeter())
    return made
"""


class Program:
    """A running `callmethod serve`."""

    def __init__(self, folder: Path, *words: str, first: str | None = None) -> None:
        before = [] if first is None else [first]
        words = (*before, "serve", *words, "--bind", "127.0.0.1:0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callmethod", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"serving \S+ at (127\.0\.0\.1:\d+), 1 process\n", line)
        assert found, (line, self.process.communicate(timeout=20))
        return found[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greeter.proto").write_text(PROTO, encoding="utf-8")
    (tmp_path / "greeter.py").write_text(GREETER, encoding="utf-8")
    return tmp_path


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(*words: str, first: str | None = None) -> Program:
        programs.append(Program(folder, *words, first=first))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate(timeout=20)


def greeted(run, address: str, *words: str) -> str:
    ended = run("call", address, "greeter.Greeter.Greet", '{"name": "ada"}', *words)
    assert (ended.status, ended.err) == (0, "")
    return ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_class_is_served_until_a_signal(run, serve, number: signal.Signals) -> None:
    program = serve("greeter:Greeter", "--reflection")
    assert greeted(run, program.address()) == '{"text":"hello ada"}\n'
    assert program.end(number) == (0, "")


@pytest.mark.parametrize("made_by", ["later", "server"])
def test_what_a_factory_can_give(run, serve, folder: Path, made_by: str) -> None:
    address = serve(f"greeter:{made_by}", "--reflection").address()
    assert greeted(run, address, "--proto", str(folder / "greeter.proto"))
    assert greeted(run, address)


def test_protocols_are_chosen_and_reflection_is_asked_for(run, serve, folder: Path) -> None:
    address = serve("greeter:Greeter", "--protocol", "sofa_pbrpc", "--threads", "1").address()
    words = ["--proto", str(folder / "greeter.proto"), "--protocol"]
    assert greeted(run, address, *words, "sofa_pbrpc")
    call = ["call", address, "greeter.Greeter.Greet", "{}"]
    assert run(*call, *words, "baidu_std").status == 64 + 14
    assert run(*call, "--protocol", "sofa_pbrpc").status == 3


def test_reload_renews_the_workers_and_outlives_a_mistake(run, serve, folder: Path) -> None:
    program = serve("greeter:Greeter", "--reflection", "--reload")
    address = program.address()

    def becomes(text: str) -> None:
        end = time.monotonic() + 20
        while text not in greeted(run, address):
            assert time.monotonic() < end
            time.sleep(0.05)

    module = folder / "greeter.py"
    module.write_text(GREETER.replace("hello", "good morning"), encoding="utf-8")
    becomes("good morning ada")
    module.write_text("x x\n", encoding="utf-8")
    assert program.process.stderr is not None
    told = ""
    for line in program.process.stderr:
        told += line
        if "the old workers stay" in line:
            break
    assert (
        "factory=greeter:Greeter reason='SyntaxError: invalid syntax (greeter.py, line 1)'" in told
    )
    assert re.findall(r'  File "(.*)", line (\d+)', told) == [(str(module), "1")]
    becomes("good morning ada")
    module.write_text(GREETER.replace("hello", "good evening"), encoding="utf-8")
    becomes("good evening ada")
    assert program.end()[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["greeter"], 2, "'module:attribute', not 'greeter'"),
        (["nowhere:Greeter"], 1, "no worker came up: ModuleNotFoundError: No module named"),
        (["greeter:Nobody"], 1, "AttributeError"),
        (["greeter:PROTO"], 1, "AttributeError"),
        (["greeter:Greeter", "greeter:Greeter"], 1, "was added already"),
        (["greeter:server", "--threads", "2"], 1, "has its own protocols, threads and TLS"),
        (["broken:Greeter"], 1, "SyntaxError: invalid syntax (broken.py, line 1); callmethod --"),
        (["greeter:Greeter", "--tls", "nowhere.pem"], 2, "No such file"),
        (["greeter:Greeter", "--tls", "greeter.py"], 2, "no certificate in PEM"),
        (["greeter:Greeter", "--key", "greeter.py"], 2, "belong to --tls FILE"),
    ],
)
def test_mistakes(serve, folder: Path, words: list[str], status: int, told: str) -> None:
    (folder / "broken.py").write_text("x x\n", encoding="utf-8")
    process = serve(*words).process
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    assert told in errors
    assert errors.count("\n") == 1


def test_where_a_service_went_wrong_is_shown_if_that_is_asked_for(serve, folder: Path) -> None:
    (folder / "broken.py").write_text("\n\nGreeter = 1 / 0\n", encoding="utf-8")
    process = serve("broken:Greeter", first="--traceback").process
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    shown = re.findall(r'  File "(.*)", line (\d+)', errors)
    assert shown == [(str(folder / "broken.py"), "3")], "ours would be of no use"


def test_a_port_in_use(serve) -> None:
    address = serve("greeter:Greeter").address()
    again = subprocess.run(
        [sys.executable, "-m", "callmethod", "serve", "greeter:Greeter", "--bind", address],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert again.returncode == 2
    assert again.stderr.startswith("callmethod: Address already in use")


def test_tls(run, serve, folder: Path) -> None:
    ca = authority.Authority()
    (folder / "ca.pem").write_bytes(ca.pem)
    ca.issue("the server", ips=("127.0.0.1",)).write(folder, "server")
    ca.issue("ada", dns=(), uris=("spiffe://example/ada",)).write(folder, "client")
    tls = ["--tls", "server.pem", "--key", "server.key", "--client-ca", "ca.pem"]
    address = serve("greeter:Greeter", "--reflection", *tls).address()
    trust = ["--ca", str(folder / "ca.pem")]
    identity = ["--cert", str(folder / "client.pem"), "--key", str(folder / "client.key")]
    assert greeted(run, address, *trust, *identity) == '{"text":"hello ada"}\n'
    assert run("list", address, *trust).status == 64 + 14
    assert run("list", address).status == 64 + 14
