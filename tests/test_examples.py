"""Each example runs as it stands, ends well, and says what it says that it expects."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

# What has no EXPECTED of its own to read.
GAME = """\
server | is up
   ada | welcome: welcome ada, players here: 1
   bob | welcome: welcome bob, players here: 2
   ada | announce: bob has joined
   bob | bye
   ada | announce: bob has left (peer_closed)
   ada | bye
server | calls: 2, pushes: 4
the game is over, all went as expected
"""


def listed() -> list[str]:
    """The examples that the Makefile runs."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^EXAMPLES := (.*)$", text, re.MULTILINE)
    assert found is not None
    return found[1].split()


def expected(example: Path) -> str:
    """The transcript of an example: its own constant, read and not run."""
    tree = ast.parse(example.read_text(encoding="utf-8"))
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="EXPECTED")], value=ast.Constant(value=str(text))):
                return text
    return GAME


@pytest.mark.parametrize("name", listed())
def test_an_example_runs_and_says_what_it_expects(name: str, child_env: dict[str, str]) -> None:
    example = EXAMPLES / name
    done = subprocess.run(
        [sys.executable, str(example)],
        env={**child_env, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected(example)


def test_no_folder_of_examples_is_forgotten() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {name.partition("/")[0] for name in listed()}


def test_the_client_of_a_brpc_server_goes_to_the_server_that_is_named(
    child_env: dict[str, str],
) -> None:
    """The same lines, said by the two programs that lie beside each other."""
    folder = EXAMPLES / "brpc_client"
    server = subprocess.Popen(
        [sys.executable, str(folder / "echo_server.py"), "127.0.0.1:0"],
        env=child_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        client = subprocess.run(
            [
                sys.executable,
                str(folder / "client.py"),
                "--server",
                server.stdout.readline().strip(),
            ],
            env=child_env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert client.returncode == 0, client.stderr
        assert client.stdout == expected(folder / "client.py")
        server.terminate()
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.communicate()
