"""The README's twenty lines run as they stand, and it names the error that brings people here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
IMPORT_ERROR = "ImportError: cannot import name 'service' from 'google.protobuf'"


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text(encoding="utf-8")


def test_the_twenty_lines_run_and_print_what_the_readme_says(
    text: str, child_env: dict[str, str], tmp_path: Path
) -> None:
    """The first python block of the README, and the sentence below it that says what it prints."""
    found = re.search(
        r"```python\n(?P<code>.*?)```\s+`python \w+\.py` prints `(?P<printed>[^`]+)`",
        text,
        re.DOTALL,
    )
    assert found is not None
    assert found.start() == text.index("```python")
    assert "callmethod.Indexed()" in found["code"]
    assert 15 <= sum(bool(line) for line in found["code"].splitlines()) <= 25
    script = tmp_path / "twenty_lines.py"
    script.write_text(found["code"], encoding="utf-8")
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
    assert done.stdout == found["printed"] + "\n"


def test_the_error_that_brings_people_here_is_named(text: str) -> None:
    assert IMPORT_ERROR in text
    assert "from callmethod import service" in text
    assert "callmethod.service.install()" in text
