"""Code of the pages in docs/ that does more than the README's runs as it stands."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_on_a_loop_until_a_signal(
    child_env: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    (code,) = (block for block in blocks("asyncio.md") if "add_signal_handler" in block)
    script = tmp_path / "serve.py"
    script.write_text(code, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=child_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_the_page_on_typing_runs(child_env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "typed.py"
    script.write_text("\n".join(blocks("typing.md")), encoding="utf-8")
    subprocess.run([sys.executable, str(script)], env=child_env, timeout=60, check=True)


def test_the_page_on_tls_runs(child_env: dict[str, str], tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "tls"))
    ca = importlib.import_module("authority").Authority()
    ca.issue("the game", ips=("127.0.0.1",)).write(tmp_path, "server")
    ca.issue("ada", uris=("spiffe://example.org/blue",)).write(tmp_path, "client")
    for stem, name in (("game", "game.x"), ("chat", "chat.x"), ("wild", "*.x")):
        ca.issue(stem, dns=(name,)).write(tmp_path, stem)
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    script = tmp_path / "secure.py"
    script.write_text("\n".join(blocks("tls.md")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=child_env,
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "welcome ada, ('spiffe://example.org/blue',)\n"


@pytest.mark.timeout(300)
def test_the_page_on_service_classes_runs(child_env: dict[str, str], tmp_path: Path) -> None:
    made, pair, writing, typed = blocks("services.md")
    for code in (made, pair, writing):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=child_env,
            cwd=tmp_path,
            timeout=60,
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout == ("welcome ada\n" if code is made else "")
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "typed.py").write_text(typed, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "typed.py"],
        env=child_env | {"MYPYPATH": "typings"},
        cwd=tmp_path,
        timeout=280,
        check=True,
    )


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_every_block_is_python(page: str) -> None:
    for block in blocks(page):
        compile(block, page, "exec")


def test_the_page_on_loading_runs(child_env: dict[str, str], tmp_path: Path) -> None:
    for block in blocks("loading.md"):
        script = tmp_path / "loading.py"
        script.write_text(block, encoding="utf-8")
        subprocess.run(
            [sys.executable, str(script)], env=child_env, cwd=tmp_path, timeout=60, check=True
        )


@pytest.mark.timeout(300)
def test_the_commands_on_the_command_line_print_what_the_page_says(
    child_env: dict[str, str], tmp_path: Path
) -> None:
    """All that are said to print something, but for those whose times are not to be had again."""
    page = (DOCS / "command_line.md").read_text(encoding="utf-8")
    parts = (page.partition(f"## {name}\n")[2].partition("\n## ")[0] for name in SHOWN)
    shown = [
        text for part in parts for text in re.findall(r"```console\n(.*?)```", part, re.DOTALL)
    ]
    for proto in ("game_service.proto", "common.proto"):
        shutil.copy(DOCS.parent / "proto" / proto, tmp_path)
    (tmp_path / "game.py").write_text(SLOW_GAME, encoding="utf-8")
    serve = [sys.executable, "-m", "callmethod", "serve", "game:Game", "--reflection"]
    with subprocess.Popen(
        [*serve, "--bind", "127.0.0.1:0"],
        cwd=tmp_path, env=child_env, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[3].rstrip(",")
            with socket.socket() as taken:
                # Bound, and nobody listens.
                taken.bind(("127.0.0.1", 0))
                nobody = f"127.0.0.1:{taken.getsockname()[1]}"
                for session in shown:
                    script = session.replace("127.0.0.1:8000", address)
                    script = script.replace("127.0.0.1:8001", nobody)
                    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)\n", script, re.MULTILINE)
                    told = re.sub(r"^\$ (?:.*\\\n)*.*\n", "", script, flags=re.MULTILINE)
                    text = f'callmethod() {{ "{sys.executable}" -m callmethod "$@"; }}\n'
                    ended = subprocess.run(
                        ["bash", "-c", text + "\n".join(commands)],
                        cwd=tmp_path, env=child_env, timeout=280, check=False, text=True,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    )  # fmt: skip
                    # Of a deadline, either end may be the first to know.
                    here = f"no answer from {address} within the deadline"
                    assert ended.stdout.replace(here, "the deadline passed on the server") == told
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0


SHOWN = ("call", "list and describe", "Mistakes")
SLOW_GAME = """\
import time

from common_pb2 import RequestMessage
from game_service_pb2 import GameService

class Game(GameService):
    def connect_server(self, rpc_controller, request, done):
        if request.message == "slow":
            time.sleep(1)
        done(RequestMessage(message="welcome " + request.message))
"""
