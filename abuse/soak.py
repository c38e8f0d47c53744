"""Calls and faults for as long as you like, and what grows meanwhile.

Three programs run: the server that is attacked, clients of callmethod on all protocols and with
all faces, and an attacker who tries one attack after the other. Every few seconds all rest for a
moment, garbage is collected, and it is measured what server and clients hold.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field

from attacks import FAMILIES
from harness.numbers import slope
from harness.processes import FailedError, Program, Target, places

SOFT = ("first_bytes", "messages", "names", "peers")
"""Families whose attacks a server without TLS and with default options is for."""
WORK_SECONDS, REST_SECONDS = 8.0, 1.5
MB_PER_HOUR = 1.0
NOISE_MB = 4.0
"""What the allocator does with its pages; a slope of minutes cannot tell it from more."""
WARM_PART = 0.25


@dataclass
class Held:
    """What a process held at each rest."""

    name: str
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, seconds: float, **numbers: float) -> None:
        for name, number in numbers.items():
            self.samples.setdefault(name, []).append((seconds / 3600, number))

    def lines(self) -> list[tuple[str, float, float, float, bool]]:
        """Return for each number: name, first, last, growth an hour, whether that is too much."""
        found = []
        for name, points in self.samples.items():
            kept = points[int(len(points) * WARM_PART) :]
            hours = kept[-1][0] - kept[0][0]
            an_hour = slope(kept)
            noise = NOISE_MB if name == "rss_mb" else max(2.0, 0.01 * kept[0][1])
            most = MB_PER_HOUR if name == "rss_mb" else 0.0
            bad = an_hour * hours > most * hours + noise
            found.append((f"{self.name} {name}", kept[0][1], kept[-1][1], an_hour, bad))
        return found


def sample(held: Held, program: Program, seconds: float) -> None:
    objects = program.ask("collect")["objects"]
    state = program.ask("state")
    gauges = {name: state["stats"][name] for name in ("connections", "calls_in_flight")}
    held.add(
        seconds,
        rss_mb=program.rss() / 2**20,
        fds=program.fds(),
        threads=program.tasks(),
        objects=objects,
        **gauges,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    attacks = [(name, one) for name in SOFT for one in FAMILIES[name].ATTACKS if not one.options]
    own, others, idle = places()
    server, clients = Held("server"), Held("clients")
    rounds, begun = 0, time.monotonic()
    tried: set[str] = set()
    ended: dict[str, int] = {}
    with Target(own) as target, Program("clients.py", [target.address], others) as caller:
        caller.line()
        while (seconds := time.monotonic() - begun) < given.seconds:
            end = time.monotonic() + WORK_SECONDS
            caller.tell(f"work {WORK_SECONDS}")
            while time.monotonic() < end - 1:
                family, attack = chance.choice(attacks)
                attacked_once(target.address, family, attack.name, idle)
                tried.add(attack.name)
            for outcome, count in caller.heard().items():
                ended[outcome] = ended.get(outcome, 0) + count
            time.sleep(REST_SECONDS)
            for held, program in ((server, target), (clients, caller)):
                sample(held, program, seconds)
            rounds += 1
            if rounds % 10 == 0:
                print(told(seconds, server, clients, ended), flush=True)
        panics = target.state()["stats"]["panics_total"]
    return verdict(server, clients, ended, len(tried), panics)


def attacked_once(address: str, family: str, name: str, place: object) -> None:
    with Program("attacker.py", [address, family, name], place) as attacker:
        attacker.line()
        try:
            attacker.ask("0.5")
        except FailedError as error:
            print(f"{name}: {error}", file=sys.stderr)


def told(seconds: float, server: Held, clients: Held, ended: dict[str, int]) -> str:
    memory = [f"{held.name} {held.samples['rss_mb'][-1][1]:.1f} MB" for held in (server, clients)]
    return f"{seconds:.0f} s: {', '.join(memory)}, calls {sum(ended.values()):,}"


def verdict(server: Held, clients: Held, ended: dict[str, int], attacks: int, panics: int) -> int:
    print(f"calls by their end: {ended}; {attacks} attacks")
    broken = panics > 0
    for name, first, last, an_hour, bad in (*server.lines(), *clients.lines()):
        print(f"{name}: {first:.1f} -> {last:.1f}, {an_hour:+.2f} an hour{' BROKEN' * bad}")
        broken |= bad
    wrong = {end: count for end, count in ended.items() if end.startswith("WRONG")}
    if wrong or panics:
        print(f"BROKEN: {wrong}, {panics} panics", file=sys.stderr)
    return 1 if broken or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
