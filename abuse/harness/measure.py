"""One attack, measured: an honest client before, during and after it, and what is left."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.others import Others
from harness.processes import Program, wait_until

if TYPE_CHECKING:
    from harness.attack import Attack
    from harness.processes import Place, Target

ROUNDS = (3, 9)
"""Turns with and without the attack: at first, and where it then seems to slow others down."""
SLOWER = 3.0
"""The honest client's p99 may be less than so many times what it is without the attack."""
SOON_MS = 1.0
"""Or so long, in milliseconds: on a fast machine where nothing else runs a call takes a seventh of
that, and the turns of a few other connections take longer."""
GROWTH = 32 << 20
RELEASED_SECONDS = 5.0
GAUGES = ("connections", "calls_in_flight", "calls_queued")
TICK = 0.05


@dataclass
class Row:
    """What came of an attack."""

    attack: Attack
    times: int = 0
    calls: int = 0
    lost: int = 0
    growth: int = 0
    quiet_ms: float = 0.0
    during_ms: float = 0.0
    released: float | None = None
    """Seconds; None where it took more than there were."""
    left: dict[str, tuple[int, int]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    others: float = 0.0
    """Part of the CPUs that other programs took."""
    cpu: float = 0.0
    """Share of a CPU that the server took during the attack."""
    tries: int = 1

    @property
    def slow(self) -> bool:
        return self.during_ms >= max(SLOWER * self.quiet_ms, SOON_MS)

    def broken(self) -> dict[str, str]:
        """Return which rules were broken, and how."""
        found = {}
        if self.times == 0:
            found["attack"] = "the attack did nothing"
        if self.lost:
            found["calls"] = f"{self.lost} calls lost"
        if self.growth >= GROWTH:
            found["memory"] = f"grew by {self.growth / 2**20:.1f} MiB"
        if self.slow:
            found["p99"] = f"p99 {self.during_ms / self.quiet_ms:.1f} times as long"
        if self.released is None:
            found["released"] = f"not released: {self.left}"
        missing = [name for name in self.attack.counters if not grown(self.counted, name)]
        if missing:
            found["counter"] = f"nothing counted as {', '.join(missing)}"
        if self.counted.get("panics_total"):
            found["panics"] = f"{self.counted['panics_total']} panics"
        return found

    def faults(self) -> list[str]:
        """Return what was broken and is not known to be."""
        return [text for rule, text in self.broken().items() if rule not in self.attack.known]

    def known(self) -> list[str]:
        """Return what was broken as is known, with the reason."""
        known = self.attack.known
        broken = self.broken().items()
        return [f"{text}: {known[rule]}" for rule, text in broken if rule in known]


def grown(counted: dict[str, int], name: str) -> bool:
    """Return whether a counter, or one of the labels below it, has grown."""
    return any(
        count > 0 for key, count in counted.items() if key == name or key.startswith(name + ".")
    )


def flat(stats: dict[str, Any]) -> dict[str, int]:
    """Return counters by name, those with labels as `name.label`."""
    found = {}
    for name, value in stats.items():
        if isinstance(value, dict):
            found.update({f"{name}.{label}": count for label, count in value.items()})
        else:
            found[name] = value
    return found


def measure(attack: Attack, family: str, target: Target, honest: Program, place: Place) -> Row:
    """Run one attack; one that seems to slow the honest client down is looked at for longer."""
    for tries, rounds in enumerate(ROUNDS, 1):
        arguments = [target.address, family, attack.name]
        with Program("attacker.py", arguments, place) as attacker:
            attacker.line()
            row = measure_once(attack, target, honest, attacker, rounds)
        row.tries = tries
        if not row.slow or "p99" in attack.known:
            break
    return row


def measure_once(
    attack: Attack, target: Target, honest: Program, attacker: Program, rounds: int
) -> Row:
    row = Row(attack)
    before = gauges(target)
    counters = flat(target.state()["stats"])
    quiet, during = [], []
    held = target.rss()
    cpu = attacked = 0.0
    programs = (target, honest, attacker)
    others, ours = Others(), sum(program.cpu_seconds() for program in programs)
    for _ in range(rounds):
        quiet.append(honest.ask(str(attack.seconds)))
        cpu_before, begun = target.cpu_seconds(), time.monotonic()
        attacker.tell(str(attack.seconds))
        honest.tell(str(attack.seconds))
        while time.monotonic() < begun + attack.seconds:
            row.growth = max(row.growth, target.rss() - held)
            if attack.meanwhile is not None:
                target.ask(attack.meanwhile)
            time.sleep(TICK)
        during.append(honest.heard())
        row.times += attacker.heard()
        row.growth = max(row.growth, target.rss() - held)
        cpu += target.cpu_seconds() - cpu_before
        attacked += time.monotonic() - begun
    row.others = others.share(sum(program.cpu_seconds() for program in programs) - ours)
    ended = time.monotonic()
    if wait_until(lambda: is_released(target, before), RELEASED_SECONDS):
        row.released = time.monotonic() - ended
    else:
        now = gauges(target)
        row.left = {name: (before[name], now[name]) for name in now if now[name] > before[name]}
    row.cpu = cpu / attacked
    row.calls = sum(window["calls"] for window in during)
    row.lost = sum(window["errors"] for window in quiet + during)
    row.quiet_ms = typical(quiet)
    row.during_ms = typical(during)
    after = flat(target.state()["stats"])
    row.counted = {
        name: count - counters.get(name, 0)
        for name, count in after.items()
        if count != counters.get(name, 0)
    }
    return row


def typical(windows: list[dict[str, Any]]) -> float:
    """Return the p99 that half of the windows are not above, those without pauses if there are."""
    smooth = [window for window in windows if not window["paused"]]
    return statistics.median(window["p99_ms"] for window in smooth or windows)


def gauges(target: Target) -> dict[str, int]:
    """Return what must come back to where it was."""
    state = target.state()
    found = {name: state["stats"][name] for name in GAUGES}
    return {**found, "fds": state["fds"], "open": state["open"]}


def is_released(target: Target, before: dict[str, int]) -> bool:
    return all(now <= before[name] for name, now in gauges(target).items())
