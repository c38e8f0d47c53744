"""Runs a group: the same cells on several servers, in turns, several times over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from runner import load
from runner.processes import PeerError, Process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from runner.contestants import Contestant
    from runner.load import Cell, Sample
    from runner.settings import Settings


@dataclass(frozen=True)
class Group:
    """What is compared with what, and where it runs."""

    name: str
    title: str
    contestants: tuple[Contestant, ...]
    cells: tuple[Cell, ...]
    server_cpus: tuple[int, ...]
    load_cpus: tuple[int, ...]


@dataclass
class Series:
    """All samples of a group."""

    group: Group
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    """By name of the contestant and label of the cell; one for each repetition."""
    peaks: dict[str, list[int]] = field(default_factory=dict)
    """By name of the contestant: the most memory it had, in KiB."""
    failures: dict[str, str] = field(default_factory=dict)
    """By name of the contestant: why it has no samples, or fewer."""

    def values(self, contestant: Contestant, cell: Cell, key: str = "calls_per_s") -> list[float]:
        """Return one value of each repetition; empty when it was not measured."""
        samples = self.samples.get((contestant.name, cell.label), [])
        return [sample[key] for sample in samples if key in sample]


def run_group(settings: Settings, group: Group, log: TextIO) -> Series:
    """Measure a group.

    All servers are started anew for each repetition, since two starts of one program differ by a
    few per cent. Those that wait for their turn sleep. The order is turned round each time, so that
    a machine that gets slower does not choose a winner.
    """
    series = Series(group)
    for repetition in range(settings.repetitions):
        order = group.contestants[:: -1 if repetition % 2 else 1]
        with Servers(settings, group, order, series) as servers:
            for cell in group.cells:
                for contestant in order:
                    if contestant.name not in series.failures:
                        servers.measure(contestant, cell)
                print(f"  {group.title}: {repetition + 1}, {cell.label}", file=log, flush=True)
    return series


class Servers:
    """The servers of one repetition."""

    def __init__(
        self, settings: Settings, group: Group, order: Sequence[Contestant], series: Series
    ) -> None:
        self._settings, self._group, self._order, self._series = settings, group, order, series
        self._running: dict[str, tuple[Process, str]] = {}

    def __enter__(self) -> Self:
        started = []
        for contestant in self._order:
            if contestant.protocol != "none" and contestant.name not in self._series.failures:
                command = contestant.command(self._settings)
                process = Process(command, self._group.server_cpus, contestant.env)
                started.append((contestant, process))
        for contestant, process in started:
            try:
                self._running[contestant.name] = process, process.address()
            except PeerError as error:
                self._series.failures[contestant.name] = str(error)
                process.stop()
        return self

    def __exit__(self, *_: object) -> None:
        for name, (process, _address) in self._running.items():
            if process.alive:
                self._series.peaks.setdefault(name, []).append(process.memory("VmHWM"))
            process.stop()

    def measure(self, contestant: Contestant, cell: Cell) -> None:
        """Take one sample and keep it."""
        settings, group = self._settings, self._group
        try:
            if contestant.protocol == "none":
                sample = load.in_process(settings, contestant, cell, group.server_cpus)
            else:
                process, address = self._running[contestant.name]
                sample = load.sample(settings, contestant, process, address, cell, group.load_cpus)
        except PeerError as error:
            # The others go on; the table says what became of this one.
            self._series.failures[contestant.name] = f"{cell.label}: {error}"
            return
        self._series.samples.setdefault((contestant.name, cell.label), []).append(sample)
