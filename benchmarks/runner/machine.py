"""What it was measured on."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
PACKAGES = ("callmethod", "protobuf", "uvloop", "grpcio", "grpclib", "thriftpy2")


def describe(python: str, eager_python: str | None) -> dict[str, str]:
    """Describe machine, kernel and versions; nothing in it names the machine."""
    found = {
        "when": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "congestion control": CONGESTION.read_text("ascii").strip(),
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    for package in PACKAGES:
        found[package] = importlib.metadata.version(package)
    found["protobuf runtime"] = ask(python, "google.protobuf.internal.api_implementation").strip()
    if eager_python is not None:
        found["python with eager tasks"] = version_of(eager_python)
    found["h2load"] = first_line(["h2load", "--version"])
    found["rustc"] = first_line(["rustc", "--version"])
    return found


def cpu_model() -> str:
    """Return the processor's name for itself."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def ask(python: str, module: str) -> str:
    """Ask protobuf which implementation it uses."""
    words = [python, "-c", f"from {module} import Type; print(Type())"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def version_of(python: str) -> str:
    """Return the version of an interpreter, and of the protobuf that it has."""
    code = (
        "import json, platform, google.protobuf as p;"
        "print(json.dumps([platform.python_version(), p.__version__]))"
    )
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    version, protobuf = json.loads(out)
    return f"CPython {version}, protobuf {protobuf}"


def first_line(command: list[str]) -> str:
    """Return the first line that a program prints, or that it is not there."""
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0] if lines else "not installed"
