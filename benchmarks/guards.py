"""What the traffic guard of burn-rate alerts is worth: false alarms, chatter, and how long a failure goes unseen.

First a fast simulation, at half the budget (every alert is false), at the budget (every ticket is chatter), and with
failures. Then the emitted rules on a subset of such traffic in a real Prometheus, beside the simulation of the same
events: the two must agree. The guards: `margin` is what the compiler emits, `> 0` is "there was traffic".
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from harness import agreement, report
from harness.agreement import DETECT_MINUTES, spoken
from harness.burnsim import GUARDS, Array, Guard, Recorded, Tier, fired, first_alert, joined_episodes, tiers
from harness.requests_model import DAY_MINUTES, MODELS, Model, clustered, dispersion, poisson
from harness.stacks import stack
from reliary import windows
from reliary.model import Slo

OBJECTIVES = ("99", "99.9")
RATES = (1, 10, 100, 1_000, 10_000)
YEAR_MINUTES = 365 * DAY_MINUTES
HISTORY_MINUTES = 3 * DAY_MINUTES
SLOW_DETECT_MINUTES = 4 * DAY_MINUTES
TARGET_FALSE = 0.1
KEEP_MINUTES = (0, 30, 120, 360, 1440)

Z = float(windows.CONFIDENCE_Z)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Episodes a tenant-year without a failure: false ones at half the budget, chatter at the budget."""

    pages: float
    tickets: float
    chatter: float
    chatter_kept: float


@dataclass(frozen=True, slots=True)
class Detection:
    """Minutes until an alert, one number a run; infinite when there was none in time."""

    outage: Array
    tenth: Array
    double: Array


def main() -> None:
    options = _options()
    print(__doc__)
    missed: list[str] = []
    for name in options.traffic:
        missed += _simulate(name, options)
    _keep_firing(options)
    agreed = None if options.no_rules else agreement.run(options.tenants, options.days, options.seed)
    if "poisson" in options.traffic:
        report.verdict(
            f"at most {TARGET_FALSE} false alerts a tenant-year at half the budget (margin, poisson)",
            not missed,
            "; ".join(missed) or "every objective and rate",
        )
    if agreed is not None:
        agreement.verdict(agreed)
    report.elapsed()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--years", type=int, default=30, help="tenant-years a row with poisson traffic (default 30); a third with other"
    )
    parser.add_argument("--runs", type=int, default=60, help="failures a row (default 60)")
    parser.add_argument("--tenants", type=int, default=4, help="tenants of each kind for the rules (default 4)")
    parser.add_argument("--days", type=int, default=4, help="days of traffic for the rules (default 4, at least 4)")
    parser.add_argument("--no-rules", action="store_true", help="only simulate")
    parser.add_argument("--traffic", nargs="+", choices=MODELS, default=list(MODELS), help="models (default: all)")
    parser.add_argument("--seed", type=int, default=11)
    return parser.parse_args()


def _simulate(name: str, options: argparse.Namespace) -> list[str]:
    """Prints the table of one traffic model; gives the rows of the margin that miss the target."""
    model = MODELS[name]
    missed: list[str] = []
    rows: list[tuple[object, ...]] = []
    _heading(name, model, _years(name, options), options)
    for objective in OBJECTIVES:
        slo = stack(["t"], [("availability", objective, "30d")]).slos[0]
        for rate in RATES:
            report.progress(f"{name} {objective} % {rate}/h")
            random = np.random.default_rng([options.seed, rate, int(Decimal(objective) * 10)])
            budget = float(windows.budget(slo.default))
            quiet = _quiet(model, random, rate, budget, slo, _years(name, options))
            seen = _detection(model, random, rate, budget, slo, options.runs)
            rows += _rows(objective, rate, quiet, seen)
            margin = quiet["margin"]
            if margin.pages + margin.tickets > TARGET_FALSE:
                missed.append(f"{objective} % at {rate}/h: {margin.pages + margin.tickets:.2f}")
    report.table(
        ("objective, rate", "guard", "false page", "false ticket", "chatter", "kept", "100 %", "10 %", "2x budget"),
        rows,
    )
    return missed if name == "poisson" else []


def _years(name: str, options: argparse.Namespace) -> int:
    """The target is about poisson traffic, and false alarms are rare there."""
    return int(options.years) if name == "poisson" else max(1, options.years // 3)


def _heading(name: str, model: Model, years: int, options: argparse.Namespace) -> None:
    random = np.random.default_rng(options.seed)
    sample = model(random, 1_000, np.full((1, 100 * DAY_MINUTES), 0.01))
    parameters = {
        "tenant-years": years,
        "runs": options.runs,
        "seed": options.seed,
        "z": Z,
        "hourly variance/mean of requests": f"{dispersion(sample.total):.1f}",
        "of errors": f"{dispersion(sample.bad):.1f} (1,000/h, 1 % bad)",
    }
    report.heading(f"{name} traffic: {(model.__doc__ or '').strip()}", parameters)
    print("false: episodes a tenant-year at half the budget. chatter: ticket episodes a tenant-year at the budget,")
    print("without keep_firing_for; kept: with the compiled one. 100 %, 10 %: median minutes to the page and the")
    print(
        "share not paged in 12 h; 2x budget: to any alert, share without one in 12 h. A quarter of the budget before."
    )


def _quiet(
    model: Model, random: np.random.Generator, rate: float, budget: float, slo: Slo, years: int
) -> dict[Guard, Quiet]:
    """Means over the years, for each guard on the same events."""
    counts: dict[Guard, list[list[int]]] = {guard: [] for guard in GUARDS}
    for _ in range(years):
        half, full = (
            Recorded(model(random, rate, np.full(HISTORY_MINUTES + YEAR_MINUTES, budget * level))) for level in (0.5, 1)
        )
        for guard in GUARDS:
            pages, tickets = (_number(half, slo, severity, budget, guard) for severity in ("page", "ticket"))
            chatter, kept = (_number(full, slo, "ticket", budget, guard, keep) for keep in (False, True))
            counts[guard].append([pages, tickets, chatter, kept])
    return {guard: Quiet(*np.mean(rows, axis=0)) for guard, rows in counts.items()}


def _number(recorded: Recorded, slo: Slo, severity: str, budget: float, guard: Guard, keep: bool = True) -> int:
    """Episodes after the first three days, in which windows are not full yet."""
    of = _of(slo, severity)
    spans = joined_episodes(fired(recorded, of, budget, guard, Z), of, keep)
    return sum(first >= HISTORY_MINUTES for first, _ in spans)


def _of(slo: Slo, *severities: str) -> list[Tier]:
    return [tier for tier in tiers(slo) if tier.severity in severities]


def _detection(
    model: Model, random: np.random.Generator, rate: float, budget: float, slo: Slo, runs: int
) -> dict[Guard, Detection]:
    """Three kinds of failure that start after three days at a quarter of the budget."""
    outage, tenth = (_failures(model, random, rate, budget, share, runs, DETECT_MINUTES) for share in (1.0, 0.1))
    double = _failures(model, random, rate, budget, 2 * budget, runs, SLOW_DETECT_MINUTES)
    pages, all_tiers = _of(slo, "page"), tiers(slo)
    return {
        guard: Detection(
            _first(outage, pages, budget, guard),
            _first(tenth, pages, budget, guard),
            _first(double, all_tiers, budget, guard),
        )
        for guard in GUARDS
    }


def _first(recorded: Recorded, of: Sequence[Tier], budget: float, guard: Guard) -> Array:
    return first_alert(fired(recorded, of, budget, guard, Z), of, HISTORY_MINUTES)


def _failures(
    model: Model, random: np.random.Generator, rate: float, budget: float, share: float, runs: int, minutes: int
) -> Recorded:
    shares = np.full((runs, HISTORY_MINUTES + minutes), budget / 4)
    shares[:, HISTORY_MINUTES:] = share
    # A failure hits whatever comes; only what goes wrong without one may come in clusters.
    return Recorded((poisson if model is clustered else model)(random, rate, shares))


def _rows(
    objective: str, rate: int, quiet: dict[Guard, Quiet], seen: dict[Guard, Detection]
) -> Iterator[tuple[object, ...]]:
    """A line for each guard; guards that did the same on every event share one."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for guard in GUARDS:
        each, found = quiet[guard], seen[guard]
        figures = (each.pages, each.tickets, each.chatter, each.chatter_kept)
        times = (spoken(found.outage), spoken(found.tenth), spoken(found.double))
        lines.setdefault((*(f"{figure:,.1f}" for figure in figures), *times), []).append(guard)
    for cells, guards in lines.items():
        yield f"{objective} %, {rate:,}/h", " and ".join(guards), *cells


def _keep_firing(options: argparse.Namespace) -> None:
    """What a longer keep_firing_for would do to tickets at the budget."""
    years = max(1, options.years // 3)
    report.heading(
        "keep_firing_for of tickets, errors at exactly the budget, margin, poisson traffic, 99.9 %",
        {"tenant-years": years, "seed": options.seed},
    )
    slo = stack(["t"], [("availability", "99.9", "30d")]).slos[0]
    budget = float(windows.budget(slo.default))
    rows = []
    for rate in (100, 1_000, 10_000):
        random = np.random.default_rng([options.seed, rate])
        shares = np.full(HISTORY_MINUTES + YEAR_MINUTES, budget)
        found = []
        for _ in range(years):
            recorded = Recorded(poisson(random, rate, shares))
            found.append([_kept(recorded, slo, budget, keep) for keep in KEEP_MINUTES])
        means = np.mean(found, axis=0)
        rows.append([f"{rate:,}/h", *(f"{number:.0f} ({share:.0%})" for number, share in means)])
    print("ticket episodes a tenant-year (share of the time with a ticket open)")
    report.table(("rate", *(f"{keep} min" for keep in KEEP_MINUTES)), rows)


def _kept(recorded: Recorded, slo: Slo, budget: float, keep: int) -> tuple[int, float]:
    of = [replace(tier, keep=keep) for tier in _of(slo, "ticket")]
    spans = joined_episodes(fired(recorded, of, budget, "margin", Z), of, keep=True)
    spans = [(first, last) for first, last in spans if first >= HISTORY_MINUTES]
    return len(spans), sum(last - first for first, last in spans) / YEAR_MINUTES


if __name__ == "__main__":
    main()
