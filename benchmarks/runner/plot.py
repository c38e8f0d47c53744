"""Draws the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

from runner import clients, plan
from runner.contestants import LOOP
from runner.contestants import RUST as RUST_ECHO
from runner.numbers import ceiling, spread

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from runner.load import Cell
    from runner.rows import Results

ORANGE, GREY, GREEN = "#d95f02", "#bbbbbb", "#1b9e77"
PANELS: tuple[tuple[str, Cell, str, str], ...] = (
    ("core", plan.DEEP, "calls_per_s", "server on one core"),
    ("core", plan.WIDE, "calls_per_s", "server on one core"),
    ("core", plan.BOTH, "calls_per_s", "server on one core"),
    ("core", plan.WIDER, "calls_per_s", "server on one core"),
    ("same", plan.ONE, "p50_us", "p50, both ends on one core"),
    ("async", plan.BOTH, "calls_per_s", "async def handlers"),
    ("large-raised", plan.MIB[0], "calls_per_s", "server on one core"),
    ("client-many", clients.MANY, "calls_per_s", "clients"),
)


def draw(results: Results, path: Path, note: str) -> None:
    """Draw one panel for each of the cells that matter."""
    figure, grid = plt.subplots(2, 4, figsize=(20, 8.5), constrained_layout=True)
    for axes, (group, cell, key, title) in zip(grid.flat, PANELS, strict=True):
        panel(axes, results, group, cell, key)
        axes.set_title(f"{title}: {cell.label}", fontsize=10)
    title = "medians, lowest to highest; dotted: the ceiling of one interpreter"
    figure.suptitle(f"callmethod and its peers: {title}\n{note}", fontsize=11)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def panel(axes: Axes, results: Results, group: str, cell: Cell, key: str) -> None:
    """Draw one cell: a bar for each contestant, the longest at the top."""
    series = results.series.get(group)
    found = {
        name: spread([sample[key] for sample in samples])
        for (name, label), samples in (series.samples if series else {}).items()
        if label == cell.label and name != LOOP.name and all(key in sample for sample in samples)
    }
    names = sorted(found, key=lambda name: found[name].median)
    middles = [found[name].median for name in names]
    errors = [
        [found[name].median - found[name].low for name in names],
        [found[name].high - found[name].median for name in names],
    ]
    axes.barh(names, middles, xerr=errors, color=[colour(name) for name in names], capsize=2)
    axes.bar_label(
        axes.containers[-1], labels=[label(middle, key) for middle in middles], padding=3
    )
    rust, loop = (results.values(group, who, cell) for who in (RUST_ECHO, LOOP))
    if rust and loop:
        # What a server could reach that did the work of both, one after the other.
        axes.axvline(spread(ceiling(rust, loop)).median, color="black", linestyle=":")
    axes.set_xlabel("us; less is better" if key == "p50_us" else "calls/s")
    axes.margins(x=0.3)
    axes.tick_params(axis="y", labelsize=8)
    axes.ticklabel_format(axis="x", style="plain")
    axes.tick_params(axis="x", labelrotation=20, labelsize=7)


def colour(name: str) -> str:
    """Tell ours from those without Python and from the peers."""
    if name.startswith("callmethod"):
        return ORANGE
    return GREY if name.startswith("Rust") else GREEN


def label(value: float, key: str) -> str:
    """Write a value at the end of its bar."""
    return f"{value:.1f}" if key == "p50_us" else f"{value:,.0f}"
