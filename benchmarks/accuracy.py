"""How near the recorded ratios are to the truth: every event is known, a real Prometheus evaluates the emitted rules.

Tenants with the traffic that makes ratios wrong (harness/library.py) are scraped into an empty server; all recording
rules of two SLOs (7d and 30d) are evaluated over those days, and beside them rules in the shape of Sloth. At each
instant and for each window the error ratio is compared with that of the events that truly fell into the window.
Relative errors are taken where at least --errors bad events did, since one event more or less is no inaccuracy.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import library, report, sloth
from harness.remotewrite import write
from harness.replay import STORAGE, Result, Span, replay
from harness.server import Server, prometheus, seconds_of
from harness.stacks import compiled, slo_groups, stack
from reliary import names
from reliary.artifacts import Recording, RuleGroup

START = 1_735_689_600  # 2025-01-01, a Wednesday
OBJECTIVE = "99.9"
BUDGET = 0.001
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
PERIODS = (7, 30)
EXACT = "exact"
"""The design and the name of the SLO that takes windows up to 6h from the raw counters."""
SECONDS_PER_DAY = 86400
TARGET = 0.02
WARM_UP_HOURS = 6

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """The values of one tenant and window: when (seconds since the start), whether there is one, and which."""

    design: str
    tenant: str
    window: str
    seconds: Counts
    there: Flags
    ratio: Floats


@dataclass(frozen=True, slots=True)
class Score:
    """How the values of one tenant and window compare with the truth."""

    design: str
    tenant: str
    window: str
    errors: Floats
    """Relative errors."""
    missing: int
    """Instants without a value although events fell into the window."""
    nan: int
    made_up: int
    """Values other than zero where no bad event fell into the window."""
    instants: int


def main() -> None:
    options = _options()
    tenants = library.tenants(options.days, options.seed)
    parameters = {
        "days": options.days,
        "tenants": len(tenants),
        "scrape": f"{library.SCRAPE_SECONDS} s",
        "evaluation": "30 s",
        "an instant every": f"{options.every} s",
        "seed": options.seed,
        "relative error from": f"{options.errors} bad events",
    }
    report.heading("accuracy of windows against the events themselves", parameters)
    scores = _measure(tenants, options)
    _print_windows(scores)
    for design in ("ours", EXACT):
        _print_tenants(scores, design)
    _print_tenants(scores, "sloth")
    _print_verdicts(scores)
    report.elapsed()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=8, help="days of traffic (default 8)")
    parser.add_argument(
        "--every",
        type=int,
        default=1410,
        help="seconds from instant to instant, a multiple of 30 (default 1410: tiles of all ages)",
    )
    parser.add_argument("--errors", type=int, default=20, help="bad events for a relative error to count (default 20)")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def _measure(tenants: Sequence[library.Tenant], options: argparse.Namespace) -> list[Score]:
    span = Span(START, START + options.days * SECONDS_PER_DAY, options.every)
    ids = [tenant.name for tenant in tenants]
    truth = {tenant.name: tenant for tenant in tenants}
    with prometheus(*STORAGE) as server:
        report.progress("scraping")
        write(server, (series for tenant in tenants for series in tenant.scraped(START)))
        seen = [*_ours(server, ids, span), *_sloth(server, ids, span)]
    return [_score(truth[each.tenant], each, options.errors) for each in seen]


def _ours(server: Server, ids: Sequence[str], span: Span) -> Iterator[Seen]:
    slos = [(f"period_{days}d", OBJECTIVE, f"{days}d") for days in PERIODS]
    of = stack(ids, [*slos, (EXACT, OBJECTIVE, "30d")], exact=[EXACT])
    wanted = {(names.burn_rate(seconds_of(window)), "period_30d"): (window, "ours") for window in WINDOWS}
    wanted |= {(names.burn_rate(seconds_of(window)), EXACT): (window, EXACT) for window in WINDOWS}
    wanted |= {(names.SLO_BUDGET_CONSUMED, f"period_{days}d"): (f"{days}d (SLO)", "ours") for days in PERIODS}
    for rule, times, result in _replayed(server, slo_groups(compiled(of)), span):
        window, design = wanted.get((rule.record, dict(rule.labels).get(names.SLO_LABEL, "")), ("", ""))
        if window:
            yield from _rows(design, window, ids, "tenant_id", times, result, span.sparse_seconds, BUDGET)


def _sloth(server: Server, ids: Sequence[str], span: Span) -> Iterator[Seen]:
    wanted = {sloth.window_series(window): window for window in WINDOWS}
    for days in PERIODS:
        file = sloth.sloth_file(ids, f"period_{days}d", 1 - BUDGET, days)
        wanted_now = {sloth.period_series(days): f"{days}d (SLO)"} | (wanted if days == 30 else {})
        for rule, times, result in _replayed(server, file.groups, span):
            if window := wanted_now.get(rule.record):
                tenant = dict(rule.labels)["sloth_service"]
                yield from _rows("sloth", window, [tenant], None, times, result, span.sparse_seconds, 1.0)


def _replayed(server: Server, groups: Sequence[RuleGroup], span: Span) -> Iterator[tuple[Recording, Counts, Result]]:
    return replay(server, groups, span, report.progress)


def _rows(
    design: str,
    window: str,
    ids: Sequence[str],
    label: str | None,
    times: Counts,
    result: Result,
    every: int,
    scale: float,
) -> Iterator[Seen]:
    """One row for each tenant, also for one of whom the rule gave nothing."""
    empty = (np.zeros(len(times), bool), np.full(len(times), np.nan))
    found = {(dict(key)[label] if label else ids[0]): value for key, value in result.items()}
    late = (times >= START + WARM_UP_HOURS * 3600) & ((times - times[0]) % every == 0)
    for tenant in ids:
        there, values = found.get(tenant, empty)
        yield Seen(design, tenant, window, times[late] - START, there[late], values[late] * scale)


def _score(tenant: library.Tenant, seen: Seen, least_errors: int) -> Score:
    bad, total = tenant.events(seen.seconds, seconds_of(seen.window.split()[0]))
    number = seen.there & ~np.isnan(seen.ratio)
    counted = number & (bad >= least_errors)
    truth = bad[counted] / total[counted]
    return Score(
        seen.design,
        seen.tenant,
        seen.window,
        np.abs(seen.ratio[counted] / truth - 1),
        missing=int((~seen.there & (total > 0)).sum()),
        nan=int((seen.there & np.isnan(seen.ratio)).sum()),
        made_up=int((number & (bad == 0) & (seen.ratio > 0)).sum()),
        instants=len(seen.seconds),
    )


def _print_windows(scores: Sequence[Score]) -> None:
    print("By window, over all tenants and instants. Relative error: median / 95th percentile. Then instants:")
    print("NaN, and missing although events fell into the window.")
    rows = []
    for window in _windows(scores):
        cells: list[object] = [window, _spread([s for s in scores if (s.design, s.window) == (EXACT, window)])]
        for design in ("ours", "sloth"):
            chosen = [score for score in scores if (score.design, score.window) == (design, window)]
            cells += [_spread(chosen), sum(each.nan for each in chosen), sum(each.missing for each in chosen)]
        rows.append(
            [*cells, sum(score.instants for score in scores if (score.design, score.window) == ("ours", window))]
        )
    report.table(["window", "exact: true", "ours", "NaN", "missing", "sloth", "NaN", "missing", "instants"], rows)


def _windows(scores: Sequence[Score]) -> list[str]:
    """From short to long."""
    return sorted({score.window for score in scores}, key=lambda window: seconds_of(window.split()[0]))


def _print_tenants(scores: Sequence[Score], design: str) -> None:
    print(f"{design}: median relative error (few: too few bad events); * NaN at some instant, - missing at some")
    windows = _windows([score for score in scores if score.design == design])
    by_tenant: dict[str, dict[str, Score]] = defaultdict(dict)
    for score in scores:
        if score.design == design:
            by_tenant[score.tenant][score.window] = score
    rows = [[tenant, *(_cell(row[window]) for window in windows)] for tenant, row in by_tenant.items()]
    report.table(["tenant", *windows], rows)


def _spread(scores: Sequence[Score]) -> str:
    errors = np.concatenate([score.errors for score in scores]) if scores else np.empty(0)
    return f"{_percent(np.median(errors))} / {_percent(np.percentile(errors, 95))}" if len(errors) else "-"


def _cell(score: Score) -> str:
    marks = ("*" if score.nan else "") + ("-" if score.missing else "")
    return (_percent(np.median(score.errors)) if len(score.errors) else "few") + marks


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 10 else f"{share:.0f}x"


def _print_verdicts(scores: Sequence[Score]) -> None:
    ours = [score for score in scores if score.design == "ours"]
    target = f"median relative error at most {TARGET:.0%} in every window"
    for design in ("ours", EXACT):
        over = {window: median for window, median in _medians(scores, design).items() if median > TARGET}
        figures = ", ".join(f"{median:.1%} in {window}" for window, median in over.items())
        report.verdict(
            f"{design}: {target}", not over, figures or f"at most {max(_medians(scores, design).values()):.1%}"
        )
    nan = sum(score.nan for score in ours)
    report.verdict("no NaN", nan == 0, f"{nan}; sloth {sum(s.nan for s in scores if s.design == 'sloth')}")
    idle = [score for score in ours if score.tenant == "never-an-error"]
    wrong = sum(score.missing + score.nan + score.made_up for score in idle)
    instants = sum(score.instants for score in idle)
    report.verdict("zero, not nothing, for a tenant without an error", wrong == 0, f"{wrong} of {instants} instants")


def _medians(scores: Sequence[Score], design: str) -> dict[str, float]:
    """The median relative error of each window."""
    chosen = [score for score in scores if score.design == design]
    return {
        window: float(np.median(np.concatenate([score.errors for score in chosen if score.window == window])))
        for window in _windows(chosen)
    }


if __name__ == "__main__":
    main()
