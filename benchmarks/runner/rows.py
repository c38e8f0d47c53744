"""The rows that are to be reached: what, measured, needed."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner import contestants as who
from runner.numbers import ceiling, rate, rates, ratios, spread
from runner.processes import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.contestants import Contestant
    from runner.groups import Series
    from runner.load import Cell
    from runner.probes import Blocking, Computing


NOT_MEASURED = "not measured in this run"


@dataclass
class Results:
    """All that was measured in a run."""

    series: dict[str, Series] = field(default_factory=dict)
    sleeping: Blocking | None = None
    computing: dict[str, Computing] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """What went wrong in a probe."""

    @contextlib.contextmanager
    def noting_failure(self, name: str) -> Iterator[None]:
        """Keep what a probe has to complain about, and have the others go on."""
        try:
            yield
        except (PeerError, OSError, ValueError, subprocess.SubprocessError) as error:
            self.failures[name] = f"failed: {error}"

    def why(self, name: str) -> str:
        """Say why there is no result."""
        return self.failures.get(name, NOT_MEASURED)

    def values(
        self, group: str, contestant: Contestant | str, cell: Cell, key: str = "calls_per_s"
    ) -> list[float]:
        """Return the values of all repetitions; empty when it was not measured."""
        if group not in self.series:
            return []
        name = contestant if isinstance(contestant, str) else contestant.name
        samples = self.series[group].samples.get((name, cell.label), [])
        return [sample[key] for sample in samples if key in sample]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    needed: str
    reached: bool | None
    """None: not measured here."""
    details: str = ""


def missing(what: str, needed: str, why: str = NOT_MEASURED) -> Row:
    """Make the row of what was not measured."""
    return Row(what, why, needed, None)


def at_least(
    what: str, ours: Sequence[float], theirs: Sequence[float], least: float, details: str = ""
) -> Row:
    """Compare two series; more is better."""
    if not ours or not theirs:
        return missing(what, f"at least {least}")
    ratio = ratios(ours, theirs)
    text = details or f"{rates(ours)} against {rates(theirs)}"
    return Row(what, str(ratio), f"at least {least}", ratio.median >= least, text)


def at_most(
    what: str, ours: Sequence[float], theirs: Sequence[float], most: float, unit: str
) -> Row:
    """Compare two series; less is better."""
    if not ours or not theirs:
        return missing(what, f"at most {most}")
    ratio = ratios(ours, theirs)
    text = f"{micros(ours)} {unit} against {micros(theirs)} {unit}"
    return Row(what, str(ratio), f"at most {most}", ratio.median <= most, text)


def micros(values: Sequence[float]) -> str:
    """Write the median of times with its spread."""
    of = spread(values)
    return f"{of.median:.1f} ({of.low:.1f} to {of.high:.1f})"


def below_ceiling(
    results: Results,
    what: str,
    ours: Contestant,
    rust: Contestant,
    needs: tuple[float, float],
    cell: Cell,
) -> Row:
    """Compare with the opponent, or with what an interpreter allows, whichever asks for less."""
    least, share = needs
    theirs = results.values("core", who.UVLOOP, cell)
    own = results.values("core", ours, cell)
    # The loop does the same for every cell, and is measured in each.
    most = ceiling(results.values("core", rust, cell), results.values("core", who.LOOP, cell))
    needed = f"at least {least}, or {share} of the ceiling"
    if not own or not theirs or not most:
        return missing(what, needed)
    against, of_ceiling = ratios(own, theirs), ratios(own, most)
    return Row(
        what,
        f"{against}; {of_ceiling} of the ceiling",
        needed,
        against.median >= least or of_ceiling.median >= share,
        f"{rates(own)} against {rates(theirs)}; ceiling {rate(spread(most).median)}",
    )


def best(results: Results, group: str, cell: Cell, of: Sequence[Contestant]) -> Contestant | None:
    """Return the fastest of some."""
    measured = [c for c in of if results.values(group, c, cell)]
    return max(measured, key=lambda c: spread(results.values(group, c, cell)).median, default=None)
