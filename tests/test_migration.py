"""docs/migration.md: what it says to write is run, and what it says was there, where it runs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import google.protobuf
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[1] / "docs" / "migration.md"
HAS_SERVICE = tuple(map(int, google.protobuf.__version__.split(".")[:2])) < (6, 30)


def blocks(heading: str) -> list[str]:
    """The code below a heading of the page."""
    _, _, after = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    section, _, _ = after.partition("\n## ")
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def run(child_env: dict[str, str], tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Run a program; what it printed, and said on stderr."""

    def run(code: str, *options: str) -> tuple[str, str]:
        script = tmp_path / "program.py"
        script.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *options, str(script)],
            env=child_env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout, done.stderr

    return run


def test_from_google_protobuf_service(run: Callable[..., tuple[str, str]]) -> None:
    before, line, after = blocks("From `google.protobuf.service`")
    printed = "welcome ada\nwho are you?\n"
    old = before.splitlines(keepends=True)[0]
    assert (old, line) == (
        "from google.protobuf import service\n",
        "from callmethod import service\n",
    )
    assert run(before.replace(old, line)) == (printed, "")
    assert run(after)[0] == printed
    out, errors = run(before, "-Wignore")
    if HAS_SERVICE:
        assert (out, errors) == (printed, "")
    else:
        assert "ImportError: cannot import name 'service' from 'google.protobuf'" in errors


def test_from_asyncore(run: Callable[..., tuple[str, str]]) -> None:
    before, after = blocks("From a channel by hand on asyncore")
    assert run(after) == ("welcome ada\n", "")
    if importlib.util.find_spec("asyncore") is None:
        pytest.skip("before: there is no asyncore")
    assert run(before, "-Wignore") == ("welcome ada\n", "")


def test_from_protobuf_socket_rpc(run: Callable[..., tuple[str, str]]) -> None:
    _, _, after = blocks("From protobuf-socket-rpc")
    assert run(after) == ("welcome ada\nwelcome bob\n", "")
