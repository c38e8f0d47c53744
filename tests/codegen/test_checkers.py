"""What mypy and pyright make of generated types, and of code that uses them rightly and wrongly.

uses.py names each error that must be found; an error too many or too few fails the check.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

USES = Path(__file__).parents[1] / "fixtures" / "codegen" / "uses.py"
WRITE = """
from callmethod.codegen import write_stubs
write_stubs(f"odd.{name}_pb2" for name in ("base", "relay", "with_dash", "generic", "lambda.deep"))
"""


pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def typed(generate: Callable[[str], Path], run_there: Callable[[Path, str], str]) -> Path:
    """A folder with all that is generated, and the code that uses it."""
    folder = generate("protoc")
    run_there(folder, WRITE)
    shutil.copy(USES, folder)
    return folder


def check(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(typed: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    check(["mypy", "--strict", "--python-version=3.10", "-m", "uses", "-p", "odd"], typed)


def test_pyright(typed: Path) -> None:
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    settings = {
        "include": ["uses.py", "**/*_callmethod.py", "**/*.pyi"],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
        "enableTypeIgnoreComments": False,  # those are mypy's
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (typed / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    check(["pyright", "--pythonpath", sys.executable, "-p", str(typed)], typed)
