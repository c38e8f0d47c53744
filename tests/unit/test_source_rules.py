"""Our own code never imports `google.protobuf.service`: read in the source, seen in a process."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import google.protobuf
import pytest

ROOT = Path(__file__).parents[2]
PYTHON = sorted(path for path in (ROOT / "python").rglob("*.py*") if path.suffix in {".py", ".pyi"})
RUST = sorted((ROOT / "src").rglob("*.rs"))
FORBIDDEN = "google.protobuf.service"


def imports(tree: ast.AST) -> list[str]:
    """The dotted names that a module imports, by statement or by a call with a literal."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {
            "import_module",
            "__import__",
        }:
            literals = [part.value for part in node.args if isinstance(part, ast.Constant)]
            names += [value for value in literals if isinstance(value, str)]
    return names


def code_only(source: str) -> str:
    """The text of a Python module without its strings and comments."""
    skipped = {
        tokenize.STRING,
        tokenize.COMMENT,
        getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT),
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return " ".join(token.string for token in tokens if token.type not in skipped)


def forbidden_python(source: str) -> bool:
    by_tree = any(
        name == FORBIDDEN or name.startswith(FORBIDDEN + ".") for name in imports(ast.parse(source))
    )
    return by_tree or FORBIDDEN in code_only(source).replace(" ", "")


def forbidden_rust(source: str) -> bool:
    """No literal in Rust code names the module; comments may."""
    code = re.sub(r"//[^\n]*", "", source)
    return FORBIDDEN in code


def test_there_is_source_to_read() -> None:
    assert ROOT / "python" / "callmethod" / "__init__.py" in PYTHON
    assert RUST


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_never_imports_it(path: Path) -> None:
    assert not forbidden_python(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RUST, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rust_never_names_it(path: Path) -> None:
    assert not forbidden_rust(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import google.protobuf.service",
        "import google.protobuf.service as service",
        "from google.protobuf import message, service",
        "from google.protobuf.service import RpcChannel",
        "def f():\n    from google.protobuf import (\n        service,\n    )",
        "import importlib\nimportlib.import_module('google.protobuf.service')",
        "__import__('google.protobuf.service')",
        "import google\nx = google.protobuf.service.Service",
    ],
)
def test_the_rule_bites(source: str) -> None:
    assert forbidden_python(source)


@pytest.mark.parametrize(
    "source",
    [
        "from google.protobuf import service_reflection",
        '"""Replaces `from google.protobuf import service`."""',
        "import sys\nsys.modules['google.protobuf.service'] = None",
        "from callmethod import service",
    ],
)
def test_the_rule_lets_the_rest_be(source: str) -> None:
    assert not forbidden_python(source)


def test_importing_callmethod_does_not_bring_it_in(child_env: dict[str, str]) -> None:
    if google.protobuf.__version__.startswith("4."):
        pytest.skip("protobuf 4.25's own builder imports it")
    code = "import sys, callmethod; sys.exit('google.protobuf.service' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=child_env, timeout=60, check=True)
