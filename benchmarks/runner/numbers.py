"""Medians, spreads and ratios, and how they are written."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

THOUSAND = 1000


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest of its values."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Return the median and its spread."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratio, repetition by repetition: the two were measured right after each other."""
    return spread([a / b for a, b in zip(ours, theirs, strict=False)])


def ceiling(rust: Sequence[float], loop: Sequence[float]) -> list[float]:
    """Return what a server could reach that did the work of both, one after the other."""
    return [1 / (1 / a + 1 / b) for a, b in zip(rust, loop, strict=False)]


def rate(calls_per_s: float) -> str:
    """Write a rate with three digits."""
    if calls_per_s >= THOUSAND * THOUSAND:
        return f"{calls_per_s / THOUSAND**2:.2f} M"
    if calls_per_s >= THOUSAND:
        digits = 0 if calls_per_s >= 100 * THOUSAND else 1
        return f"{calls_per_s / THOUSAND:.{digits}f} k"
    return f"{calls_per_s:.0f}"


def rates(values: Sequence[float]) -> str:
    """Write the median of rates with their spread."""
    if not values:
        return ""
    of = spread(values)
    return f"{rate(of.median)} ({rate(of.low)} to {rate(of.high)})"
