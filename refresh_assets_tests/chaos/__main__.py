"""`make chaos`: many seeded kills, and a table of what they hit.

Here: the command line, two servers side by side, the table. Not here: a kill (kills.py); the few that every test run does
(test_kills.py)."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from refresh_assets_tests.chaos.kills import Arena, Hit, Kill, Kind, arena, plan
from refresh_assets_tests.chaos.phases import PHASES

COLUMNS = {Kind.WORKER: "worker", Kind.TERMINATE: "sessions", Kind.BACKEND: "backend", Kind.SERVER: "server"}
COLUMNS |= {Kind.MACHINE: "machine"}


def strike_all(one: Arena, kills: Sequence[Kill], until: float) -> tuple[list[Hit], list[str]]:
    """Hits, and what broke in words; no new kill once the time is over."""
    hits, broken = [], []
    for kill in kills:
        if time.monotonic() > until:
            break
        try:
            hits.append(one.strike(kill))
            print(".", end="", file=sys.stderr, flush=True)
        except AssertionError as error:
            broken.append(str(error))
            print(error, file=sys.stderr, flush=True)
    return hits, broken


def table(hits: Sequence[Hit]) -> str:
    """Phases by kind of kill, and how much of the night stood in its new version."""
    counts = Counter((hit.phase, hit.kill.kind) for hit in hits)
    commands = Counter(hit.phase for hit in hits if hit.kill.by_command)
    lines = [f"{'hit while':28}" + "".join(f"{name:>10}" for name in COLUMNS.values()) + f"{'all':>8}{'command':>10}"]
    for phase in PHASES:
        row = [counts[phase, kind] for kind in COLUMNS]
        lines.append(
            f"{phase:28}" + "".join(f"{n or '':>10}" for n in row) + f"{sum(row):>8}{commands[phase] or '':>10}"
        )
    row = [sum(counts[phase, kind] for phase in PHASES) for kind in COLUMNS]
    lines.append(f"{'all':28}" + "".join(f"{n:>10}" for n in row) + f"{sum(row):>8}{sum(commands.values()):>10}")
    untouched, done = sum(hit.new == 0 for hit in hits), sum(hit.new == hit.units for hit in hits)
    lines.append(f"right after: {untouched} all old, {len(hits) - untouched - done} part new, {done} all new")
    own = sum(hit.cleared is None for hit in hits)
    gave_up = sum(hit.gave_up for hit in hits)
    lines.append(f"finished by itself: {own}; healed by the next run: {len(hits) - own}, of which gave up: {gave_up}")
    cleared = [hit.cleared for hit in hits if hit.cleared is not None]
    lines.append(f"sessions and locks of the dead gone after {1000 * max(cleared, default=0):.0f} ms at the worst")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", type=int, default=2, help="side by side")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no kill after these")
    wanted = parser.parse_args()
    begin, kills = time.monotonic(), plan(wanted.seed, wanted.kills)
    with ExitStack() as stack, ThreadPoolExecutor(wanted.servers) as pool:
        arenas = [stack.enter_context(arena(wanted.seed + number)) for number in range(wanted.servers)]
        assert all(one.new == arenas[0].new for one in arenas), "two servers, two results"
        parts = [kills[number :: wanted.servers] for number in range(wanted.servers)]
        until = begin + 60 * wanted.minutes
        done = list(pool.map(strike_all, arenas, parts, [until] * len(parts)))
    hits = [hit for part, _ in done for hit in part]
    broken = [words for _, part in done for words in part]
    seconds = time.monotonic() - begin
    print(f"\n{len(hits) + len(broken)} of {len(kills)} kills, seed {wanted.seed}, {seconds:.0f} s, fsync on")
    print(table(hits))
    print(
        f"{len(broken)} broke a promise"
        if broken
        else "every day of every table was absent, old or complete; all healed"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
