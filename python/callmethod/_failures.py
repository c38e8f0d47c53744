"""What is said of workers that do not come up: all that is needed, and that once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from callmethod._orders import Report

if TYPE_CHECKING:
    from callmethod._factory import Name

logger = logging.getLogger("callmethod")


class WorkerTraceback(Exception):  # noqa: N818  (it stands for an exception of another process)
    """Where a worker failed, as its own interpreter has written it."""

    def __str__(self) -> str:
        """Return the text on lines of its own."""
        return f"\n{self.args[0]}"


class Failures:
    """Failed starts of workers.

    While no worker has come up, their traceback is kept for the exception that this may end in.
    """

    def __init__(self, factory: Name) -> None:
        """Know of none."""
        self._factory = factory
        self._last = Report()
        self._to_be_raised = True

    def add(self, pid: int | None, report: Report) -> None:
        """Log a failure; the same traceback only once in a row."""
        known, self._last = report == self._last, report
        if known and self._to_be_raised:
            return
        logger.error(
            "worker failed to start pid=%s factory=%s reason=%r", pid, self._factory, report.reason
        )
        if not known and not self._to_be_raised:
            self._show()

    def settle(self) -> None:
        """Log what was kept: a worker has come up, so that nothing will be raised."""
        if self._to_be_raised:
            self._to_be_raised = False
            self._show()

    def _show(self) -> None:
        if self._last.traceback:
            logger.error("%s", self._last.traceback.rstrip())

    def error(self) -> RuntimeError:
        """Return what is raised when no worker has come up."""
        error = RuntimeError(f"no worker came up: {self._factory}: {self._last.reason}")
        if self._last.traceback:
            error.__cause__ = WorkerTraceback(self._last.traceback)
        return error
