"""Renews the workers when a file changes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

POLL_SECONDS = 0.5
"""How often files are looked at. No notification of the system's is relied on: those of network and
container file systems do not always come."""
SUFFIXES = (".py", ".pyi", ".proto")
SKIPPED = {"__pycache__", "node_modules", "site-packages"}

Seen = dict[str, tuple[int, int]]


class Watch:
    """Looks at the files of some folders, and has the process told by SIGHUP of what changes."""

    def __init__(self, folders: Iterable[str], told: Callable[[list[str]], object]) -> None:
        """Begin with the files as they are now; `told` is called with those that change."""
        self._told = told
        self._folders = [Path(folder) for folder in folders]
        self._seen = self._look()
        self._over = threading.Event()

    def start(self) -> None:
        """Look from now on, on a thread of its own."""
        threading.Thread(target=self._run, name="callmethod-reload", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            changed = self.changed()
            if changed and not self._over.is_set():
                self._told(changed)
                os.kill(os.getpid(), signal.SIGHUP)

    def changed(self) -> list[str]:
        """Return files that were written, made or removed since the last look."""
        before, self._seen = self._seen, self._look()
        names = sorted({*before, *self._seen})
        return [name for name in names if before.get(name) != self._seen.get(name)]

    def _look(self) -> Seen:
        return {
            entry.path: (entry.stat().st_mtime_ns, entry.stat().st_size)
            for folder in self._folders
            for entry in _files(folder)
        }


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = [*os.scandir(folder)]
    except OSError:
        # Removed a moment ago, or not for us to read.
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    yield from _files(entry.path)
            elif entry.name.endswith(SUFFIXES):
                entry.stat()
                yield entry
        except OSError:
            continue
