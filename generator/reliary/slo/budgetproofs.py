"""Proofs of budgets: what was made up is what is read, over rolling windows, new months and planned windows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import cycle

from reliary import maintenance, names, promql, windows
from reliary.artifacts import File, Labels
from reliary.model import Calendar, Composite, Maintenance, Slo, Stack
from reliary.promtool import Expectation, Test, constant, test_file
from reliary.slo.cases import (
    DAY,
    HOUR,
    SCRAPE_SECONDS,
    STEP_SECONDS,
    VOLUME,
    ZERO,
    Case,
    Cases,
    Phase,
    few,
    groups,
    input_series,
    tenant,
    topics,
)

BUDGET_STEP_SECONDS = 900
PARTS = (
    (Decimal(900_000), Decimal("0.001"), Decimal("0.2")),
    (Decimal(10_000), Decimal("0.05"), Decimal("1.5")),
    (Decimal(250_000), Decimal("0.01"), Decimal(0)),
)
"""Events, budget and what is consumed of it, of the parts of a composite."""
FIRST_SECONDS = 1_767_225_600
"""1 January 2026."""


def budget_file(stack: Stack, slo: Slo) -> File | None:
    """A day and a half of traffic: what was spent, what is left, and the state of each tenant."""
    about = f"Proof of the budget of {slo.name}, for promtool test rules"
    rules = ["calendar", *topics(stack, slo), "slo-budgets"]
    return test_file(
        f"slo-{slo.name}-budget", about, rules, groups(stack, slo), BUDGET_STEP_SECONDS, [_budget_test(stack, slo)]
    )


def _budget_test(stack: Stack, slo: Slo) -> Test:
    first, second = 24 * HOUR // SCRAPE_SECONDS, 12 * HOUR // SCRAPE_SECONDS
    share, end = windows.budget(slo.default), (first + second) * SCRAPE_SECONDS
    cases = _budget_cases(slo, first, second)
    spent = {name: _spent(case) for name, case in cases.items()}
    expected = [
        row
        for name, (bad, total) in spent.items()
        if total and slo.calendar is None
        for row in _values(stack, slo, end, name, bad / total / share)
    ]
    if slo.calendar is None:
        expected += _rolled_up(slo, end, list(spent.values()), share)
    expected.append(Expectation(f"count({promql.series(names.burn_rate(300), (stack.tenant_label, 'idle'))})", end, ()))
    expected += _states(stack, slo, end, cases)
    alerts = tuple((name, constant("1", first + second)) for name in _alerts(stack, slo))
    series = (*input_series(stack, slo, cases, first + second), *alerts)
    return Test(f"{slo.name}: budgets are those of the events", SCRAPE_SECONDS, series, tuple(expected))


def _alerts(stack: Stack, slo: Slo) -> Iterator[str]:
    """An alert that fires for the tenant `alerted`, as the rules of the class would have it."""
    labels = (("alertname", names.SLO_ALERT), ("alertstate", "firing"), (names.SLO_LABEL, slo.name))
    yield promql.series("ALERTS", *labels, (stack.tenant_label, "alerted"), ("severity", "page"))


def _rolled_up(slo: Slo, end: int, spent: list[tuple[Decimal, Decimal]], share: Decimal) -> Iterator[Expectation]:
    """All tenants together, and those of a tier, which here are the same: by events, not a mean of ratios."""
    bad, total = (sum((both[part] for both in spent), ZERO) for part in (0, 1))
    levels: tuple[tuple[str, Labels], ...] = (("slo", ()), ("tier_slo", (("tier", "listed"),)))
    for level, tier in levels:
        which = ((names.SLO_LABEL, slo.name), *tier)
        consumed = promql.series(names.rolled_up(names.SLO_BUDGET_CONSUMED, level), *which)
        success = promql.series(names.rolled_up(names.SLO_SUCCESS, level), *which)
        yield _near(consumed, end, bad / total / share, promql.series("", *which))
        yield _near(f"(1 - {success})", end, bad / total, promql.series("", *which))


def _budget_cases(slo: Slo, first: int, second: int) -> Cases:
    share, hardly = windows.budget(slo.default), few(slo)
    small, past = VOLUME if hardly else VOLUME / 10, min(Decimal(1), share * Decimal("1.5"))
    cases = {
        "half-spent": Case((Phase(first, ZERO, VOLUME), Phase(second, past * small, small))),
        "never-an-error": Case((Phase(first + second, ZERO, VOLUME),), no_errors_series=True),
        "alerted": Case((Phase(first + second, ZERO, VOLUME),)),
        "exhausted": Case((Phase(first + second, min(Decimal(1), share * 2) * VOLUME, VOLUME),)),
        "vanished": Case((Phase(first + second, ZERO, None),)),
    }
    if not hardly:
        if share < Decimal("0.5"):
            cases["hardly-seen"] = Case((Phase(first + second, ZERO, Decimal("0.1")),))
        cases["idle"] = Case((Phase(first + second, ZERO, ZERO),))
    return cases


def _states(stack: Stack, slo: Slo, end: int, cases: Cases) -> Iterator[Expectation]:
    states = {"never-an-error": 0, "vanished": 4, "hardly-seen": 3, "idle": 3, "alerted": 1}
    if slo.calendar is None and not few(slo):
        states["exhausted"] = 2
    for name, state in states.items():
        if name in cases and not (few(slo) and state == 0):
            which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, name))
            series = promql.series(names.SLO_STATE, *which)
            yield Expectation(series, end, ((series, state),))


def _spent(case: Case) -> tuple[Decimal, Decimal]:
    """Bad events and all events of a tenant."""
    phases = [phase for phase in case.phases if phase.total]
    bad = sum((phase.steps * phase.bad for phase in phases), ZERO)
    return bad, sum((phase.steps * (phase.total or ZERO) for phase in phases), ZERO)


def _values(stack: Stack, slo: Slo, end: int, name: str, consumed: Decimal) -> Iterator[Expectation]:
    which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, name))
    labels = promql.series("", *which)
    minutes = (1 - consumed) * windows.budget(slo.default) * slo.window_seconds / 60
    yield _near(promql.series(names.SLO_BUDGET_CONSUMED, *which), end, consumed, labels)
    yield _near(promql.series(names.SLO_BUDGET_REMAINING, *which), end, 1 - consumed, labels)
    yield _near(promql.series(names.SLO_BUDGET_MINUTES, *which), end, minutes, labels)
    lost = consumed * windows.budget(slo.default)
    yield _near(f"(1 - {promql.series(names.SLO_SUCCESS, *which)})", end, lost, labels)


def _near(series: str, at: int, value: Decimal, labels: str) -> Expectation:
    """Within 1 %: promtool evaluates tiles at the instants of the rates, so that the first and last count half."""
    margin = max(abs(value) / 100, Decimal("0.000001"))
    low, high = promql.number(round(value - margin, 9)), promql.number(round(value + margin, 9))
    return Expectation(f"({series} >= bool {low}) * ({series} <= bool {high})", at, ((labels, 1),))


# -- calendar windows


def calendar_file(stack: Stack, slo: Slo, calendar: Calendar) -> File | None:
    """An outage over the start of a month or quarter, errors for a third of it, then none: what came before is gone."""
    begins, length = _first_period(calendar)
    every = {"month": HOUR, "quarter": 6 * HOUR}[calendar.unit]
    middle, end = (-(-(begins + part * length // 3) // every) * every for part in (1, 2))
    outage, share = begins + HOUR, windows.budget(slo.default)
    bad = min(Decimal(1), share * 4)
    steps = [at // SCRAPE_SECONDS for at in (outage, middle, end)]
    phases = (
        Phase(steps[0], VOLUME, VOLUME),
        Phase(steps[1] - steps[0], bad * VOLUME, VOLUME),
        Phase(steps[2] - steps[1], ZERO, VOLUME),
    )
    # What each evaluation since the start sees in the five minutes before it.
    instants = [at for at in range(0, end + 1, every) if at >= begins]
    seen = [Decimal(1) if at <= outage else bad if at <= middle else ZERO for at in instants]
    ratio = sum(seen, ZERO) / len(seen)
    which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, "spoilt-before"))
    labels = promql.series("", *which)
    # The share of the whole period's budget: only so much of the period is over.
    consumed = ratio / share * (end - begins) / length
    expected = (
        _near(f"(1 - {promql.series(names.SLO_SUCCESS, *which)})", end, ratio, labels),
        _near(promql.series(names.SLO_BUDGET_CONSUMED, *which), end, consumed, labels),
    )
    series = input_series(stack, slo, {"spoilt-before": Case(phases)}, steps[2])
    test = Test(f"{slo.name}: a new {calendar.unit} begins with its whole budget", SCRAPE_SECONDS, series, expected)
    about = f"Proof of the {calendar.unit} of {slo.name}, for promtool test rules"
    rules = ["calendar", *topics(stack, slo), "slo-budgets"]
    return test_file(f"slo-{slo.name}-{calendar.unit}", about, rules, groups(stack, slo), every, [test])


def _first_period(calendar: Calendar) -> tuple[int, int]:
    """The first start of a month or quarter after the epoch of promtool, and its length, in seconds."""
    offset = maintenance.first_offset(calendar.zone)
    days = {"month": (0, 31, 28), "quarter": (0, 90, 91)}[calendar.unit]
    start = -offset if offset < 0 else days[1] * DAY - offset
    return start, days[1 if offset < 0 else 2] * DAY


# -- exclusions


def excluded_file(stack: Stack, slo: Slo) -> File | None:
    """An outage within a planned window costs nothing and calls nobody; for others it does."""
    about = f"Proof of what planned windows leave out of {slo.name}, for promtool test rules"
    rules = ["calendar", *topics(stack, slo), "slo-budgets"]
    tests = [_excluded_test(stack, slo, window) for window in stack.exclusions(slo.name)]
    return test_file(f"slo-{slo.name}-excluded", about, rules, groups(stack, slo), STEP_SECONDS, tests)


def _excluded_test(stack: Stack, slo: Slo, window: Maintenance) -> Test:
    on, after = 80, 40
    outage = Case((Phase(on - 12, VOLUME, VOLUME), Phase(after + 12, ZERO, VOLUME)))
    who = window.tenants[0] if window.tenants else "planned"
    cases = {who: outage} | ({"not-planned": outage} if window.tenants else {})
    own = ((stack.tenant_label, who),) if window.tenants else ()
    flag = promql.series(names.MAINTENANCE, *sorted((*own, ("window", window.name))))
    end, during, label = (on + after) * STEP_SECONDS, (on - 1) * STEP_SECONDS, stack.tenant_label
    which = ((names.SLO_LABEL, slo.name), (label, who))
    excluded = promql.series(names.SLO_EXCLUDED_RATE, *which)
    consumed = promql.series(names.SLO_BUDGET_CONSUMED, *which)
    expected = [
        Expectation(
            f"sum by ({label}) (sum_over_time({excluded}[{names.duration(end)}]) > bool 0)",
            end,
            ((tenant(stack, who), 1),),
        ),
        Expectation(f"{consumed} == bool 0", end, ((promql.series("", *which), 1),)),
        Expectation(promql.series(names.SLO_STATE, *which), during, ((promql.series(names.SLO_STATE, *which), 5),)),
        Expectation(
            f"sum_over_time({promql.series(names.SLO_ERRORS_RATE, *which)}[{names.duration(end)}]) > 0", end, ()
        ),
    ]
    if window.tenants:
        others = promql.series(names.SLO_BUDGET_CONSUMED, (names.SLO_LABEL, slo.name), (label, "not-planned"))
        labels = promql.series("", (names.SLO_LABEL, slo.name), (label, "not-planned"))
        expected.append(Expectation(f"{others} > bool 0", end, ((labels, 1),)))
    series = (*input_series(stack, slo, cases, on + after), (flag, f"1+0x{on - 1} stale"))
    return Test(f"{slo.name}: {window.name} leaves out what happens within it", STEP_SECONDS, series, tuple(expected))


def composite_file(stack: Stack, composite: Composite) -> File | None:
    """A busy part and a quiet one: what was allowed and what was bad is added up, ratios are not averaged."""
    parts = [(name, *figures) for name, figures in zip(composite.of, cycle(PARTS), strict=False)]
    series: list[tuple[str, str]] = []
    for name, total, budget, consumed in parts:
        which = ((names.SLO_LABEL, name), (stack.tenant_label, "both"))
        rows = ((names.SLO_TOTAL_WINDOW, total), (names.SLO_BUDGET, budget), (names.SLO_BUDGET_CONSUMED, consumed))
        series += [(promql.series(each, *which), constant(promql.number(value), 10)) for each, value in rows]
    allowed = sum((total * budget for _, total, budget, _ in parts), ZERO)
    bad = sum((total * budget * consumed for _, total, budget, consumed in parts), ZERO)
    every = sum((total for _, total, _, _ in parts), ZERO)
    which = ((names.SLO_LABEL, composite.name), (stack.tenant_label, "both"))
    labels = promql.series("", *which)
    expected = (
        _near(promql.series(names.SLO_BUDGET_CONSUMED, *which), 300, bad / allowed, labels),
        _near(promql.series(names.SLO_BUDGET, *which), 300, allowed / every, labels),
        _near(promql.series(names.SLO_BUDGET_REMAINING, *which), 300, 1 - bad / allowed, labels),
    )
    test = Test(f"{composite.name} adds up its parts", STEP_SECONDS, tuple(series), expected)
    about = f"Proof of {composite.name}, for promtool test rules"
    return test_file(f"composite-{composite.name}", about, ["slo-budgets"], (), STEP_SECONDS, [test])


def window_files(stack: Stack, window: Maintenance) -> Iterator[File | None]:
    """One instant within the first time that a window is on, and one well after it; each is a file of its own,
    since promtool evaluates at multiples of one interval from 1970 on."""
    first = next(maintenance.occurrences(window, FIRST_SECONDS, FIRST_SECONDS + 10 * 366 * DAY), None)
    if first is None:
        return
    chosen = promql.series(names.MAINTENANCE, ("window", window.name))
    after = first.end_seconds + HOUR
    again = next(maintenance.occurrences(window, after, after + 1), None)
    instants = {"on": ((first.start_seconds + first.end_seconds) // 2, True)}
    if again is None:
        instants["off"] = (after, False)
    for name, (at, on) in instants.items():
        samples = (("{}", 1),) if on else ()
        test = Test(f"{window.name} is {name} at {at}", at, (), (Expectation(f"max({chosen})", at, samples),))
        about = f"Proof that {window.name} is {name} when it should be, for promtool test rules"
        yield test_file(f"maintenance-{window.name}-{name}", about, ["maintenance"], (), at, [test])
