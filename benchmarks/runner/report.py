"""Writes the results: JSON with every sample, Markdown to read."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from runner.numbers import rates, spread

if TYPE_CHECKING:
    from pathlib import Path

    from runner.groups import Series
    from runner.rows import Results, Row
    from runner.settings import Settings

LEGEND = (
    "Calls a second: median (lowest to highest). us: the server's time on a CPU for a call, kernel "
    "included; the client's where clients are measured. p50 and p99: as the caller sees them."
)
REACHED = {True: "yes", False: "**no**", None: "-"}


def as_json(
    settings: Settings, machine: dict[str, str], results: Results, rows: list[Row]
) -> dict[str, Any]:
    """Return everything, down to the single sample."""
    return {
        "method": method(settings),
        "machine": machine,
        "rows": [dataclasses.asdict(row) for row in rows],
        "groups": {name: series_json(series) for name, series in results.series.items()},
        "one handler sleeps": None
        if results.sleeping is None
        else dataclasses.asdict(results.sleeping),
        "one handler computes": {
            where: dataclasses.asdict(found) for where, found in results.computing.items()
        },
        "idle connection, KiB": results.idle,
    }


def series_json(series: Series) -> dict[str, Any]:
    """Return all samples of a group."""
    samples: dict[str, dict[str, Any]] = {}
    for (name, cell), found in series.samples.items():
        samples.setdefault(name, {})[cell] = found
    return {
        "title": series.group.title,
        "samples": samples,
        "peak memory, KiB": series.peaks,
        "failures": series.failures,
    }


def method(settings: Settings) -> dict[str, Any]:
    """Return how it was measured."""
    return {
        "run": "quick" if settings.quick else "full",
        "repetitions": settings.repetitions,
        "seconds": settings.seconds,
        "warmup": round(settings.warmup, 3),
    }


def markdown(settings: Settings, machine: dict[str, str], results: Results, rows: list[Row]) -> str:
    """Return the page."""
    parts = [
        "# Results",
        "Made by `make bench" + ("-quick`" if settings.quick else "`") + "; see"
        " [how to read this](../README.md). All samples are in [latest.json](latest.json).",
        "![calls per second](latest.png)",
        "## What is to be reached",
        rows_table(rows),
        "## Machine and method",
        key_values({**machine, **{k: str(v) for k, v in method(settings).items()}}),
        "## All figures",
        LEGEND,
    ]
    for series in results.series.values():
        parts += [f"### {series.group.title}", figures(series)]
        parts += [f"{name}: {why}" for name, why in series.failures.items()]
    return "\n\n".join(parts) + "\n"


def rows_table(rows: list[Row]) -> str:
    """Draw the rows that are to be reached."""
    lines = ["| what | measured | needed | reached | |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.what, row.measured, row.needed, REACHED[row.reached], row.details)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures(series: Series) -> str:
    """Draw all figures of a group."""
    lines = [
        "| | cell | calls/s | us | p50 us | p99 us | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, cell), samples in series.samples.items():
        middles = []
        for key in ("cpu_us", "p50_us", "p99_us"):
            values = [sample[key] for sample in samples if key in sample]
            middles.append(f"{spread(values).median:.1f}" if values else "")
        peak = series.peaks.get(name)
        middles.append(f"{max(peak) / 1024:.0f}" if peak else "")
        rate = rates([sample["calls_per_s"] for sample in samples])
        lines.append("| " + " | ".join((name, cell, rate, *middles)) + " |")
    return "\n".join(lines)


def key_values(values: dict[str, str]) -> str:
    """Draw a table of two columns."""
    lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())]
    return "\n".join(lines)


def write(
    folder: Path, settings: Settings, machine: dict[str, str], results: Results, rows: list[Row]
) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = as_json(settings, machine, results, rows)
    (folder / "latest.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    (folder / "latest.md").write_text(markdown(settings, machine, results, rows), "utf-8")
