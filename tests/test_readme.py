"""The README's code runs as it stands, and it names the error that brings people here."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

README = Path(__file__).parents[1] / "README.md"
IMPORT_ERROR = "ImportError: cannot import name 'service' from 'google.protobuf'"


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture
def output_of(child_env: dict[str, str], tmp_path: Path) -> Callable[[str], str]:
    """Run a program in a process of its own and return what it prints."""

    def run(code: str) -> str:
        script = tmp_path / "twenty.py"
        script.write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env=child_env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_twenty_lines_run_and_print_what_the_readme_says(
    text: str, output_of: Callable[[str], str]
) -> None:
    """The first python block of the README, and the sentence below it that says what it prints."""
    found = re.search(
        r"```python\n(?P<code>.*?)```\s+`python twenty\.py` prints `(?P<printed>[^`]+)`",
        text,
        re.DOTALL,
    )
    assert found is not None
    assert found.start() == text.index("```python")
    assert "callmethod.Server(" in found["code"]
    assert len(found["code"].splitlines()) <= 20
    assert output_of(found["code"]) == found["printed"] + "\n"


def test_the_lines_with_asyncio_run(text: str, output_of: Callable[[str], str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = [block for block in blocks if "callmethod.aio" in block]
    assert output_of(code) == "welcome ada\nwelcome bob\n"


def test_the_error_that_brings_people_here_is_named(text: str) -> None:
    assert IMPORT_ERROR in text
    assert "from callmethod import service" in text
    assert "callmethod.service.install()" in text


def test_from_nothing_to_a_first_call(text: str, tmp_path: Path) -> None:
    part = text.partition("## From nothing")[2].partition("\n## ")[0]
    texts = dict(re.findall(r"```(proto|python)\n(.*?)```", part, re.DOTALL))
    (tmp_path / "greeter.proto").write_text(texts["proto"], encoding="utf-8")
    (tmp_path / "greeter.py").write_text(texts["python"], encoding="utf-8")
    served, called = re.findall(r"```console\n(.*?)```", part, re.DOTALL)

    def words(line: str) -> list[str]:
        program, *rest = shlex.split(line.removeprefix("$ "))
        assert program == "callmethod"
        return [sys.executable, "-m", "callmethod", *rest]

    command, line = served.splitlines()
    with subprocess.Popen(
        [*words(command), "--bind", "127.0.0.1:0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().rstrip("\n")
            address = re.search(r"[\d.]+:\d+", said)[0]
            assert said == line.replace("127.0.0.1:8000", address)
            for session in called.split("$ ")[1:]:
                command, _, answer = session.partition("\n")
                ended = subprocess.run(
                    words(command.replace("127.0.0.1:8000", address)),
                    cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                assert (ended.stdout, ended.stderr) == (answer, "")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
