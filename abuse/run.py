"""Attacks callmethod and writes down what happened. Exits with 1 if a rule was broken.

make abuse                                  # all of it, into docs/reliability.md
make abuse ABUSE_ARGS="--only names,tls"    # some of it, printed and nothing written
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attacks import FAMILIES
from harness import report
from harness.certificates import self_signed
from harness.measure import Row, measure
from harness.overload import CASES, Overload, overload
from harness.processes import Place, Program, Target, places
from harness.storms import Result, storms

if TYPE_CHECKING:
    from harness.attack import Attack

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
PARTS = (*FAMILIES, "storms", "overload")


class Server:
    """A target and an honest client of it, for all attacks in a row that want the same options."""

    def __init__(self, folder: Path, attack: Attack, target: Place, honest: Place) -> None:
        files = self_signed(folder) if attack.tls else ()
        arguments = ["--tls", *files] if files else []
        self.target = Target(target, *arguments, **attack.options)
        self.honest = Program("honest.py", [self.target.address, *files[:1]], honest)
        self.honest.line()
        # What the first calls load and allocate is not what is asked for here.
        self.honest.ask("0.5")

    def stop(self) -> None:
        self.honest.stop()
        self.target.stop()


def attacked(family: str, only: str | None, folder: Path) -> list[Row]:
    """Run the attacks of a family."""
    target, honest, attacker = places()
    rows: list[Row] = []
    server, kind = None, ""
    try:
        for attack in FAMILIES[family].ATTACKS:
            if only is not None and attack.name != only:
                continue
            wanted = json.dumps([dict(attack.options), attack.tls])
            if server is None or wanted != kind:
                if server is not None:
                    server.stop()
                server, kind = Server(folder, attack, target, honest), wanted
            rows.append(measure(attack, family, server.target, server.honest, attacker))
            print(report.line(rows[-1]), flush=True)
    finally:
        if server is not None:
            server.stop()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=report.RAW)
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--attack", help="one attack by name")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else PARTS
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: dict[str, list[Row]] = {}
    counts: list[Result] = []
    overloads: list[Overload] = []
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            if family in chosen:
                rows[family] = attacked(family, given.attack, Path(folder))
    target, others, _ = places()
    if "storms" in chosen:
        for result in storms(target, others):
            counts.append(result)
            print(report.line_of_result(result), flush=True)
    if "overload" in chosen:
        for case in CASES:
            overloads.append(overload(case, target, others))
            print(report.line_of_overload(overloads[-1]), flush=True)
    if chosen is PARTS and given.attack is None:
        PAGE.write_text(report.page(rows, counts, overloads), "utf-8")
        print(f"written: {PAGE}")
    broken = report.broken(rows, counts, overloads)
    for what in broken:
        print(f"BROKEN: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
