"""Keeps worker processes running: starts, replaces, renews and ends them.

It owns the socket that they accept from and accepts nothing itself. It runs on one thread, the one
that calls it, and starts none.
"""

from __future__ import annotations

import dataclasses
import logging
import selectors
import signal
import time
from typing import TYPE_CHECKING

from callmethod._child import Child, Plan
from callmethod._failures import Failures
from callmethod._orders import Report
from callmethod._place import Place
from callmethod._signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod._listening import Listening

TICK_SECONDS = 0.2
"""How often workers are looked at, though nothing was heard of them."""
CLOSE_SECONDS = 1.0
"""Time for all workers to let go of the socket, before the first one sends its callers away."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

logger = logging.getLogger("callmethod")


@dataclasses.dataclass(frozen=True)
class ServeSummary:
    """What happened to the workers of `callmethod.serve`.

    Attributes:
        replaced: workers that accepted, and ended without being told to.
        killed: workers that did not come up, or did not end, in time.
    """

    replaced: int = 0
    killed: int = 0


class Supervisor:
    """Keeps workers at one socket."""

    def __init__(
        self,
        plan: Plan,
        listening: Listening,
        workers: int,
        on_ready: Callable[[str], object] | None,
    ) -> None:
        """Start nothing yet."""
        self._plan = plan
        self._listening = listening
        self._on_ready = on_ready
        self._places = [Place() for _ in range(workers)]
        # Those of all places, and those that are still to end.
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._failures = Failures(plan.factory)
        self._somebody_came_up = False
        self._announced = False
        # How often a restart was asked for; a worker knows at which of them it was started.
        self._generation = 0
        self._renewing = False
        self._stopping = False
        self._drains_by: float | None = None
        self._cutting = False
        self._replaced = 0
        self._killed = 0

    def run(self) -> ServeSummary:
        """Keep the workers until a signal ends them.

        Raises:
            RuntimeError: none of them came up.
            Exception: whatever `on_ready` raised.
        """
        try:
            with self._selector, Signals(SIGNALS) as signals:
                self._selector.register(signals, selectors.EVENT_READ)
                while self._children or not self._stopping:
                    self._fill()
                    self._renew()
                    self._selector.select(self._patience())
                    for number in signals.take():
                        self._heed(number)
                    for child in tuple(self._children):
                        self._attend(child)
                    self._drain()
                    self._announce()
        finally:
            self._listening.close()
            for child in self._children:
                child.bury()
        return ServeSummary(self._replaced, self._killed)

    def _patience(self) -> float:
        now = time.monotonic()
        due = [place.not_before - now for place in self._places if place.not_before > now]
        return min([TICK_SECONDS, *due])

    def _fill(self) -> None:
        """Start workers for the places that have none."""
        for place in self._places:
            if place.child is not None or self._stopping or place.not_before > time.monotonic():
                continue
            # While nobody has come up, what fails is the program and not a worker.
            if place.failures and not self._somebody_came_up:
                continue
            place.child = self._start()
            if place.child is None:
                place.fail()

    def _start(self) -> Child | None:
        try:
            child = Child(self._plan, self._listening.fileno(), self._generation)
        except OSError as error:
            self._failures.add(None, Report.of(error))
            return None
        self._children.append(child)
        self._selector.register(child.control, selectors.EVENT_READ, child)
        return child

    def _announce(self) -> None:
        """Say once that the first workers have come up; raise if none has."""
        if self._announced or self._stopping:
            return
        if not all(place.had_its_start for place in self._places):
            return
        if not self._somebody_came_up:
            raise self._failures.error()
        self._announced = True
        address = self._listening.address
        logger.info("serving address=%s workers=%d", address, len(self._places))
        if self._on_ready is not None:
            self._on_ready(address)

    def _heed(self, number: int) -> None:
        """Do what a signal asks for."""
        if number == signal.SIGHUP:
            if not self._stopping:
                logger.info("rolling restart begins")
                self._generation += 1
                self._renewing = True
        elif not self._stopping:
            logger.info("workers drain grace=%s", self._plan.grace)
            self._stopping = True
            self._listening.close()
            self._drains_by = time.monotonic() + CLOSE_SECONDS
            for child in self._children:
                child.close_port()
        elif not self._cutting:
            self._cutting, self._drains_by = True, None
            for child in self._children:
                child.cut()
        else:
            for child in self._children:
                child.kill()

    def _drain(self) -> None:
        """Have the workers drain when none accepts any more.

        A caller that one of them sends away connects anew at once. Accepted by a worker that is
        about to stop itself, it would have sent a call that nobody runs; refused, it knows.
        """
        if self._drains_by is None:
            return
        accepting = any(child.ready and not child.closed for child in self._children)
        if not accepting or time.monotonic() >= self._drains_by:
            self._drains_by = None
            for child in self._children:
                child.drain()

    def _attend(self, child: Child) -> None:
        """Hear what a worker has to say, and see whether it lives."""
        came_up_before = child.ready
        # Asked first: what it said before its end is heard after it.
        fate = child.fate()
        if not child.hear():
            self._hear_no_more(child)
        if child.ready and not came_up_before:
            self._came_up(child)
        if fate is None:
            child.keep_time()
            return
        self._children.remove(child)
        self._hear_no_more(child)
        child.bury()
        self._ended(child, fate)

    def _hear_no_more(self, child: Child) -> None:
        if child.control in self._selector.get_map():
            self._selector.unregister(child.control)

    def _came_up(self, child: Child) -> None:
        logger.info("worker accepts pid=%d", child.pid)
        self._somebody_came_up = True
        self._failures.settle()
        for place in self._places:
            if place.heir is child and not self._stopping:
                old, place.child, place.heir = place.child, child, None
                if old is not None:
                    old.drain()

    def _ended(self, child: Child, fate: str) -> None:
        """Note the end of a worker."""
        if child.overdue:
            self._killed += 1
            logger.warning("worker killed pid=%d reason=%r", child.pid, child.overdue)
        for place in [] if self._stopping else self._places:
            if place.heir is child:
                place.heir = None
                self._failures.add(child.pid, child.why_it_failed(fate))
                self._give_up_renewing()
                return
            if place.child is child:
                # If an heir is on its way, it is the replacement.
                place.child, place.heir = place.heir, None
                if child.ready:
                    self._lost(place, child, fate)
                else:
                    place.fail()
                    self._failures.add(child.pid, child.why_it_failed(fate))
                return
        logger.info("worker ended pid=%d reason=%r", child.pid, fate)

    def _lost(self, place: Place, child: Child, fate: str) -> None:
        self._replaced += 1
        place.lose(child.age)
        logger.warning(
            "worker lost pid=%d reason=%r seconds=%.1f replaced_total=%d",
            child.pid,
            fate,
            child.age,
            self._replaced,
        )

    def _renew(self) -> None:
        """Have one place after the other get a worker of the newest generation."""
        if not self._renewing or self._stopping or any(place.heir for place in self._places):
            return
        children = [place.child for place in self._places if place.child is not None]
        if all(child.generation == self._generation for child in children):
            self._renewing = False
            logger.info("rolling restart ends")
            return
        for place in self._places:
            child = place.child
            if child is None or not child.ready or child.generation == self._generation:
                continue
            place.heir = self._start()
            if place.heir is None:
                self._give_up_renewing()
            return

    def _give_up_renewing(self) -> None:
        self._renewing = False
        logger.error("rolling restart given up; the old workers stay")
