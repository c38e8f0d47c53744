"""Run the test suite on every Python x protobuf x implementation of protobuf.

Usage: python scripts/test_matrix.py [arguments of pytest]

`make test-matrix` makes what it needs first; so does `make process-counts`, which runs a part of
the suite in great numbers.

A release wheel is built for each Python and installed in a virtual environment for each pair of
Python and protobuf, under build/matrix/; they are kept, and a second run installs only what has
changed. A cell is one run of pytest in one of them. Two run at a time.

PYTHONS="3.11 3.12", PROTOBUFS="7.36.2" and IMPLEMENTATIONS="upb" in the environment name fewer; a
Python that is asked for and not found is a failure, and so is a cell in which no test ran, or whose
interpreter or protobuf is not the one on the label.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# The last one whose generated classes derive from google.protobuf.service.Service, the last one
# with that module, the first major version without it, the newest.
PROTOBUFS = ("4.25.9", "5.29.6", "6.33.6", "7.36.2")
IMPLEMENTATIONS = ("upb", "python")

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "matrix"
REQUIREMENTS = ROOT / "requirements" / "test.txt"
AT_ONCE = 2
CELL_TIMEOUT = 1800.0  # seconds

# Each run has a session of its own, which Ctrl-C does not reach: these are to be killed then.
RUNNING: set[subprocess.Popen[bytes]] = set()

# Printed in a cell and compared with its label: an implementation that cannot be loaded falls back.
WHO = """
import sys, google.protobuf
from google.protobuf.internal import api_implementation
print("%d.%d" % sys.version_info[:2], google.protobuf.__version__, api_implementation.Type())
"""


@dataclass(frozen=True)
class Cell:
    """One run of the suite, and how it ended."""

    python: str
    protobuf: str
    implementation: str
    ok: bool
    text: str


def candidates(version: str) -> Iterator[Path]:
    """Yield what may be Python `version`: every match on PATH, then pyenv's."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder) / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)


def find_python(version: str) -> Path | None:
    """Find an interpreter that runs, is what its name says, and can make virtual environments.

    A name on PATH proves nothing: a pyenv shim exists for versions that are not selected, and a
    distribution may have left out `ensurepip`.
    """
    question = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for path in candidates(version):
        if path.is_file():
            answer = subprocess.run(
                [path, "-c", question], capture_output=True, text=True, check=False
            )
            if answer.returncode == 0 and answer.stdout.strip() == version:
                return path
    return None


def build(version: str, python: Path) -> Path:
    """Build the release wheel for one Python."""
    folder = WORK / "wheels" / version
    shutil.rmtree(folder, ignore_errors=True)
    maturin = Path(sys.executable).with_name("maturin")
    options: list[Path | str] = ["--locked", "--release"]
    options += ["--interpreter", python, "--out", folder]
    run_quietly([maturin, "build", *options], os.environ | {"PYO3_PYTHON": str(python)})
    [wheel] = folder.glob("*.whl")
    return wheel


def prepare(python: Path, protobuf: str, wheel: Path, folder: Path) -> Path:
    """Make the virtual environment, or bring it up to date; return its interpreter."""
    inside = folder / "bin" / "python"
    needs = f"{python.resolve()} protobuf=={protobuf} {REQUIREMENTS.read_text('utf-8')}"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    needs_note, wheel_note = folder / "needs.txt", folder / "wheel.txt"
    pip: list[Path | str] = [
        inside,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    if not needs_note.exists() or needs_note.read_text("utf-8") != needs:
        run_quietly([python, "-m", "venv", "--clear", folder])
        run_quietly([*pip, "-r", REQUIREMENTS, f"protobuf=={protobuf}"])
        needs_note.write_text(needs, "utf-8")
    if not wheel_note.exists() or wheel_note.read_text("utf-8") != digest:
        run_quietly([*pip, "--force-reinstall", "--no-deps", wheel])
        wheel_note.write_text(digest, "utf-8")
    return inside


def run_quietly(command: list[Path | str], env: dict[str, str] | None = None) -> None:
    """Run a step of the preparation; what it says is shown only when it fails."""
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        line = " ".join(map(str, command))
        raise RuntimeError(f"{line}: exit code {done.returncode}\n{done.stdout}")


def run_cell(inside: Path, python: str, protobuf: str, implementation: str) -> Cell:
    """Run the suite once."""
    name = f"{python}-{protobuf}-{implementation}"
    report, log = WORK / f"{name}.xml", WORK / f"{name}.log"
    report.unlink(missing_ok=True)
    # Exits differ by Python: each gets the full number once, and a few in its other cells.
    newest = protobuf == PROTOBUFS[-1] and implementation == IMPLEMENTATIONS[0]
    exits = {} if newest else {"CALLMETHOD_EXIT_RUNS": "20"}
    env = (
        os.environ
        | exits
        | {
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
            # Cells run side by side and share the source tree: no common databases.
            "HYPOTHESIS_STORAGE_DIRECTORY": str(WORK / f"{name}.hypothesis"),
        }
    )
    env.pop("PYTHONPATH", None)
    expected = f"{python} {protobuf} {implementation}"
    said = subprocess.run([inside, "-c", WHO], env=env, capture_output=True, text=True, check=False)
    if said.stdout.strip() != expected:
        text = f"is {said.stdout.strip() or said.stderr.strip()!r}, not {expected!r}"
        return Cell(python, protobuf, implementation, ok=False, text=text)
    options = ["-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    code = run_logged([inside, "-m", "pytest", *options, *sys.argv[1:]], env, log)
    ran, skipped = count(report)
    ok = code == 0 and ran > 0
    text = f"{ran} passed" if ok else f"FAILED, exit code {code}, {ran} ran: {log}"
    if ok and skipped:
        text += f", {skipped} skipped"
    return Cell(python, protobuf, implementation, ok, text)


def run_logged(command: list[Path | str], env: dict[str, str], log: Path) -> int:
    """Run pytest into a log file; a run that does not end is killed with all its children."""
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True
        )
        RUNNING.add(process)
        try:
            return process.wait(CELL_TIMEOUT)
        finally:
            RUNNING.discard(process)
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a run that is still going: pytest and the processes that tests have started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def count(report: Path) -> tuple[int, int]:
    """Return how many tests ran and how many were skipped, by pytest's own report."""
    if not report.exists():
        return 0, 0
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314  # our own file
    totals = [(int(s.get("tests", 0)), int(s.get("skipped", 0))) for s in suites]
    skipped = sum(s for _, s in totals)
    return sum(t for t, _ in totals) - skipped, skipped


def run_pair(version: str, python: Path, protobuf: str, wheel: Path) -> list[Cell]:
    """Prepare one virtual environment and run its cells, one after the other."""
    implementations = os.environ.get("IMPLEMENTATIONS", "").split() or list(IMPLEMENTATIONS)
    try:
        inside = prepare(python, protobuf, wheel, WORK / f"{version}-{protobuf}")
        cells = []
        for implementation in implementations:
            try:
                cells.append(run_cell(inside, version, protobuf, implementation))
            except subprocess.TimeoutExpired:
                text = f"FAILED, killed after {CELL_TIMEOUT:.0f} s"
                cells.append(Cell(version, protobuf, implementation, ok=False, text=text))
            show(cells[-1])
    except RuntimeError as error:
        cells = [Cell(version, protobuf, i, ok=False, text=str(error)) for i in implementations]
        show(cells[0])
    return cells


def show(cell: Cell) -> None:
    """Say at once how a cell ended."""
    label = f"Python {cell.python}  protobuf {cell.protobuf}  {cell.implementation:6}"
    print(f"{label}  {cell.text}", flush=True)


def table(cells: list[Cell]) -> str:
    """Draw the cells: a row for each Python, a column for each protobuf and implementation."""
    columns = sorted({(c.protobuf, c.implementation) for c in cells}, key=column_order)
    by_place = {(c.python, c.protobuf, c.implementation): c for c in cells}
    rows = [["", *(f"{p} {i}" for p, i in columns)]]
    for python in dict.fromkeys(c.python for c in cells):
        row = (by_place[python, p, i] for p, i in columns)
        rows.append([python, *("ok" if c.ok else "FAILED" for c in row)])
    return "\n".join("  ".join(word.ljust(13) for word in row).rstrip() for row in rows)


def column_order(column: tuple[str, str]) -> tuple[list[int], int]:
    """Order columns by version number, then as the implementations are listed."""
    protobuf, implementation = column
    return [int(part) for part in protobuf.split(".")], IMPLEMENTATIONS.index(implementation)


def main() -> int:
    """Run all cells."""
    versions = os.environ.get("PYTHONS", "").split() or list(PYTHONS)
    protobufs = os.environ.get("PROTOBUFS", "").split() or list(PROTOBUFS)
    pythons = {version: find_python(version) for version in versions}
    missing = [version for version, path in pythons.items() if path is None]
    if missing:
        print(f"no usable Python {', '.join(missing)}; PYTHONS= names fewer", file=sys.stderr)
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    # One after the other: they share cargo's target folder.
    wheels = {version: build(version, path) for version, path in pythons.items() if path}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [
            pool.submit(run_pair, version, path, protobuf, wheels[version])
            # The newest first: every Python has its say early.
            for protobuf in reversed(protobufs)
            for version, path in pythons.items()
            if path is not None
        ]
        try:
            cells = [cell for run in runs for cell in run.result()]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                kill_group(process)
            raise
    print(f"\n{table(cells)}\n")
    failed = [cell for cell in cells if not cell.ok]
    print(f"{len(cells) - len(failed)} of {len(cells)} cells passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
