"""What the rules cost: ours for all tenants at once beside rules in the shape of Sloth for each of them.

The same tenants with the same past in a real Prometheus; both rule sets run in its ruler, one after the other, and
their CPU time is that of the process, less what it uses without rules. Ours have groups of several intervals: the CPU
time of a round is divided among them by their evaluation time and counted by how often they run, per 30 s.
Every group runs faster than in production while it is measured, since the price of a round does not depend on it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness import fleet, live, report, sloth
from harness.remotewrite import write
from harness.replay import STORAGE, ranges
from harness.server import Server, prometheus
from harness.stacks import compiled, stack, texts
from reliary.artifacts import Recording, RuleFile

OBJECTIVE = "99.9"
ROUND_SECONDS = 30
ROUNDS = 3
PACE_SECONDS = 6
SLOTH_SECONDS_PER_TENANT = 0.05
"""A round of Sloth's rules must fit into its interval."""
IDLE_SECONDS = 5
FUTURE_SECONDS = 3000
SAMPLED_TENANTS = 3
TARGET_RATIO = 15
TARGET_EXPONENT = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One design at one size. `cpu_seconds` and `samples` are per 30 s, `resident_mib` is the growth over idle."""

    design: str
    tenants: int
    rules: int
    groups: int
    size_bytes: int
    reload_seconds: float
    cpu_seconds: float
    samples: float
    resident_mib: float
    missed: float


def main() -> None:
    options = _options()
    if options.live:
        live.run(options.live_tenants, options.minutes, options.days, options.seed)
        report.elapsed()
        return
    sizes = sorted({max(1, options.tenants // 10), max(1, options.tenants * 3 // 10), options.tenants})
    parameters = {
        "tenants": ", ".join(map(str, sizes)),
        "raw series a tenant": 4,
        "days of history": options.days,
        "scrape": f"{fleet.STEP_SECONDS} s",
        "rounds": ROUNDS,
        "seed": options.seed,
        "windows": "5m to 3d and 30d, as far as there is history",
    }
    report.heading("cost of one SLO for each tenant, per 30 s", parameters)
    costs = [cost for size in sizes for cost in _measure(size, options)]
    _print(costs)
    report.elapsed()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=1000, help="the largest size (default 1000)")
    parser.add_argument("--days", type=float, default=3.0, help="days of history (default 3)")
    parser.add_argument("--live", action="store_true", help="instead: scrape and evaluate many tenants in real time")
    parser.add_argument("--live-tenants", type=int, default=10_000, help="with --live (default 10000)")
    parser.add_argument("--minutes", type=float, default=10, help="with --live (default 10)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _measure(size: int, options: argparse.Namespace) -> list[Cost]:
    tenants = fleet.fleet(size, options.seed)
    ids = [tenant.name for tenant in tenants]
    ours = compiled(stack(ids, [(fleet.SLO, OBJECTIVE, "30d")]))
    check_history(ours)
    theirs = (sloth.sloth_file(ids, fleet.SLO, float(OBJECTIVE) / 100, 30),)
    with prometheus(*STORAGE) as server:
        report.progress(f"{size} tenants: writing {options.days:g} days of history")
        now = int(time.time()) // 30 * 30
        write(server, fleet.history(tenants, now, options.days, FUTURE_SECONDS, options.seed))
        idle = _idle(server)
        return [_cost(server, "ours", size, ours, idle), _cost(server, "sloth", size, theirs, idle)]


def check_history(files: Sequence[RuleFile]) -> None:
    """Refuses to measure rules whose past is not there, since they would look cheap."""
    rules = [rule for file in files for group in file.groups for rule in group.rules]
    ours = {rule.record for rule in rules if isinstance(rule, Recording)}
    if unknown := {name for rule in rules for name in ranges(rule.expr)} & ours - fleet.HISTORIC:
        raise RuntimeError(f"harness/fleet.py writes no past for {sorted(unknown)}")


def _cost(server: Server, design: str, size: int, files: Sequence[RuleFile], idle: tuple[float, float]) -> Cost:
    pace = PACE_SECONDS if design == "ours" else max(PACE_SECONDS, math.ceil(SLOTH_SECONDS_PER_TENANT * size))
    report.progress(f"{size} tenants: {design}, a round every {pace} s")
    idle_cpu, idle_mib = idle
    paced = texts([_paced(file, pace) for file in files])
    reload_seconds = statistics.median(_reload(server, paced) for _ in range(ROUNDS))
    server.configure(paced)
    time.sleep(pace + 2)  # the first round creates the series that it records
    missed = server.own_metric("prometheus_rule_group_iterations_missed_total")
    started, before, mib, weights = time.monotonic(), server.cpu_seconds(), 0.0, []
    for _ in range(ROUNDS if pace <= PACE_SECONDS else 1):
        time.sleep(pace)
        mib = max(mib, server.resident_mib())
        weights.append(amortised(files, _durations(server)))
    seconds = time.monotonic() - started
    used = server.cpu_seconds() - before - idle_cpu * seconds
    _refuse_failures(server)
    missed = server.own_metric("prometheus_rule_group_iterations_missed_total") - missed
    emitted = texts(files)
    server.configure([])  # so that questions do not queue behind rules
    return Cost(
        design,
        size,
        rules=sum(len(group.rules) for file in files for group in file.groups),
        groups=sum(len(file.groups) for file in files),
        size_bytes=sum(len(text) for _, text in emitted),
        reload_seconds=reload_seconds,
        cpu_seconds=used / (seconds / pace) * statistics.mean(weights),
        samples=_samples(server, design, size, files),
        resident_mib=mib - idle_mib,
        missed=missed,
    )


def _paced(file: RuleFile, seconds: int) -> RuleFile:
    groups = tuple(dataclasses.replace(group, interval_seconds=seconds) for group in file.groups)
    return dataclasses.replace(file, groups=groups)


def _idle(server: Server) -> tuple[float, float]:
    """CPU seconds a second, and resident MiB, without rules."""
    time.sleep(3)  # what was asked before is collected
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return (server.cpu_seconds() - before) / IDLE_SECONDS, server.resident_mib()


def _reload(server: Server, paced: Sequence[tuple[str, str]]) -> float:
    server.configure([])
    return server.configure(paced)


def _durations(server: Server) -> dict[str, float]:
    """Seconds that each group took last."""
    return {group["name"]: float(group["evaluationTime"]) for group in server.rules()}


def amortised(files: Sequence[RuleFile], durations: dict[str, float]) -> float:
    """What part of the cost of all groups falls into 30 s, when each runs at its own interval."""
    total = sum(durations.values()) or 1.0
    groups = [group for file in files for group in file.groups]
    return sum(durations[group.name] * ROUND_SECONDS / group.interval_seconds for group in groups) / total


def _refuse_failures(server: Server) -> None:
    bad = [rule for group in server.rules() for rule in group["rules"] if rule["health"] == "err"]
    if bad:
        raise RuntimeError(f"{bad[0]['name']}: {bad[0]['lastError']}")


def _samples(server: Server, design: str, size: int, files: Sequence[RuleFile]) -> float:
    """Samples that queries touch in 30 s; of Sloth's, which are all alike, those of a few tenants, scaled."""
    groups = [group for file in files for group in file.groups]
    scale = 1.0
    if design == "sloth" and size > SAMPLED_TENANTS:
        groups, scale = groups[: 3 * SAMPLED_TENANTS], size / SAMPLED_TENANTS
    at = time.time() - 5
    touched = (
        _touched(server, rule.expr, at) * ROUND_SECONDS / group.interval_seconds
        for group in groups
        for rule in group.rules
        if rule.expr != "vector(1)"
    )
    return scale * sum(touched)


def _touched(server: Server, expr: str, at: float) -> int:
    return int(server.get("query", query=expr, time=at, stats="all")["stats"]["samples"]["totalQueryableSamples"])


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The power of the size with which a value grows: the slope in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _print(costs: Sequence[Cost]) -> None:
    columns = ("tenants, design", "rules", "groups", "bytes", "reload s", "CPU s", "samples", "MiB", "missed")
    report.table(
        columns,
        (
            (
                f"{cost.tenants:,} {cost.design}",
                f"{cost.rules:,}",
                f"{cost.groups:,}",
                f"{cost.size_bytes:,}",
                f"{cost.reload_seconds:.3f}",
                f"{cost.cpu_seconds:.3f}",
                f"{cost.samples:,.0f}",
                f"{cost.resident_mib:+.0f}",
                f"{cost.missed:.0f}",
            )
            for cost in costs
        ),
    )
    print("Ours has a constant fact (tenant_info) for each tenant among its rules; all else does not depend on them.\n")
    _print_ratios(costs)


def _print_ratios(costs: Sequence[Cost]) -> None:
    ours, theirs = ([cost for cost in costs if cost.design == design] for design in ("ours", "sloth"))
    report.table(
        ("tenants", "CPU", "samples", "reload", "bytes"),
        (
            (
                f"{one.tenants:,}",
                *(
                    f"{getattr(other, name) / getattr(one, name):.1f} x"
                    for name in ("cpu_seconds", "samples", "reload_seconds", "size_bytes")
                ),
            )
            for one, other in zip(ours, theirs, strict=True)
        ),
    )
    sizes = [cost.tenants for cost in ours]
    powers = [exponent(sizes, [cost.cpu_seconds for cost in part]) for part in (ours, theirs)]
    ratio = theirs[-1].cpu_seconds / ours[-1].cpu_seconds
    report.verdict(
        f"at {sizes[-1]:,} tenants at least {TARGET_RATIO} times less CPU", ratio >= TARGET_RATIO, f"{ratio:.1f} times"
    )
    report.verdict(
        f"CPU grows with at most the power {TARGET_EXPONENT} of tenants",
        powers[0] <= TARGET_EXPONENT,
        f"{powers[0]:.2f}; sloth {powers[1]:.2f}",
    )


if __name__ == "__main__":
    main()
