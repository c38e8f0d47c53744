"""The socket that all workers accept from."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from callmethod import _core


class Listening:
    """A socket that listens, in a process that accepts nothing.

    Attributes:
        address: where it listens, with the port that the system chose.
    """

    def __init__(self, bind: str | socket.socket) -> None:
        """Bind and listen; a socket that was given stays its owner's, and blocks no more.

        Raises:
            OSError: that is not possible, EADDRINUSE for one.
            ValueError: the address is none.
        """
        where = bind if isinstance(bind, str) else os.dup(bind.fileno())
        number, self.address = _core.listen(where)
        self._socket = socket.socket(fileno=number)
        self._file: tuple[Path, int] | None = None
        if isinstance(bind, str) and self.address.startswith("unix:"):
            path = Path(self.address.removeprefix("unix:")).absolute()
            self._file = path, path.lstat().st_ino

    def fileno(self) -> int:
        """Return the number of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more, as far as this process is concerned."""
        self._socket.close()
        if self._file is None:
            return
        (path, inode), self._file = self._file, None
        # Somebody may have removed it before us, or put another in its place.
        with contextlib.suppress(OSError):
            if path.lstat().st_ino == inode:
                path.unlink()
