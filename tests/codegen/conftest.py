"""What the tests of code generation share: protoc, run on the odd protos of tests/fixtures."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parents[1] / "fixtures" / "codegen"
PROTOS = sorted(str(path.relative_to(FIXTURES)) for path in FIXTURES.rglob("*.proto"))
BIN = Path(sys.executable).parent


def command(compiler: str) -> list[str]:
    """How to run a protoc, or a skip of the test."""
    if compiler == "grpc_tools":
        if importlib.util.find_spec("grpc_tools") is None:
            pytest.skip("grpcio-tools is not installed")
        return [sys.executable, "-m", "grpc_tools.protoc"]
    found = shutil.which("protoc", path=str(BIN))
    if found is None:
        pytest.skip("no protoc beside this Python")
    return [found]


@pytest.fixture(scope="session")
def protoc() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``protoc(compiler, folder, *options)``: run one of them on the odd protos."""

    def run(
        compiler: str, folder: Path, *options: str, protos: list[str] = PROTOS
    ) -> subprocess.CompletedProcess[str]:
        # As with any plugin: protoc finds it on PATH.
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
        return subprocess.run(
            [*command(compiler), f"-I{FIXTURES}", f"--python_out={folder}", *options, *protos],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def generate(
    protoc: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """``generate(compiler)``: the folder of what it wrote with the plugin."""

    @functools.cache
    def run(compiler: str) -> Path:
        folder = tmp_path_factory.mktemp("generated")
        done = protoc(compiler, folder, f"--callmethod_out={folder}")
        assert done.returncode == 0, done.stderr
        return folder

    return run


@pytest.fixture(params=["protoc", "grpc_tools"])
def generated(request: pytest.FixtureRequest, generate: Callable[[str], Path]) -> Path:
    """The folder of what each protoc wrote with the plugin."""
    return generate(request.param)


@pytest.fixture(scope="session")
def run_there() -> Callable[[Path, str], str]:
    """``run_there(folder, code)``: run code that imports from there; what it printed."""

    def run(folder: Path, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
