"""Proofs of the SLO classes: promtool tests that are made from the definitions, never from the text of a rule.

Tenants are the cases and carry their names. For each burn tier: who burns past its factor is alerted on and nobody
else, and it ends. For the fastest one also: too few requests, restarts of counters, series that come late, own
objectives. For each budget: what was made up is what is read, for tenants, tiers and all. Long windows are run at
long steps, so that a proof of three days takes a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from reliary import maintenance, names, promql, windows
from reliary.artifacts import File
from reliary.model import BurnTier, Calendar, Latency, Maintenance, Probe, Ratio, Slo, Stack
from reliary.promtool import Expectation, Stretch, Test, constant, counter, test_file
from reliary.proofs import quiet
from reliary.samples import NoSample, histogram, one_series, pair
from reliary.slo import shards

STEP_SECONDS = 30
SCRAPE_SECONDS = 300
"""The longest step between two samples of a counter: a 5m rate needs two."""
BUDGET_STEP_SECONDS = 900
STEPS_IN_A_WINDOW = 240
VOLUME = Decimal(100_000)
ZERO = Decimal(0)
HOUR, DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Phase:
    """Traffic of a tenant for so many steps: bad events and all events in each; total None: no series at all."""

    steps: int
    bad: Decimal
    total: Decimal | None
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A tenant of a proof. `late_errors`: the series of bad events appears with the second phase."""

    phases: tuple[Phase, ...]
    tier: str = "listed"
    objective: Decimal | None = None
    fires: bool = False
    late_errors: bool = False


Cases = dict[str, Case]


def slo_proofs(stack: Stack) -> tuple[File, ...]:
    """`tests/slo-*.yml` and `tests/maintenance-*.yml`."""
    files = [file for slo in stack.slos if not reason(stack, slo) for file in _of_class(stack, slo)]
    planned = [window for window in stack.maintenance if window.excluded]
    return tuple(file for file in (*files, *(test for window in planned for test in _of_window(stack, window))) if file)


def unproven(stack: Stack) -> tuple[tuple[str, str], ...]:
    """SLOs for which no traffic could be made up, each with the reason; their alerts have no proof."""
    return tuple((slo.name, why) for slo in stack.slos if (why := reason(stack, slo)))


def reason(stack: Stack, slo: Slo) -> str:
    """Why no traffic can be made up for a class; empty when it can."""
    try:
        _series(stack, slo, "a", Case((Phase(2, ZERO, ZERO),)))
    except NoSample as error:
        return str(error)
    return ""


def _of_class(stack: Stack, slo: Slo) -> Iterator[File | None]:
    tiers = sorted(slo.burn, key=lambda tier: tier.long_seconds)
    for tier in tiers:
        yield _tier_file(stack, slo, tier, fastest=tier is tiers[0])
    yield _budget_file(stack, slo)
    if slo.calendar is not None:
        yield _calendar_file(stack, slo, slo.calendar)
    if stack.exclusions(slo.name):
        yield _excluded_file(stack, slo)


def topics(stack: Stack, slo: Slo) -> tuple[str, ...]:
    """The rule files of a class."""
    parts = shards.count(stack, slo)
    return (f"slo-{slo.name}",) if parts == 1 else tuple(f"slo-{slo.name}-{part}" for part in range(parts))


def groups(stack: Stack, slo: Slo) -> tuple[str, ...]:
    """The rule groups of a class in the order in which they read each other, and the one of all classes."""
    parts = range(shards.count(stack, slo))
    endings = [f"-{number}" for number in parts] if len(parts) > 1 else [""]
    own = (f"{stack.name}-slo-{slo.name}-{kind}{end}" for end in endings for kind in ("fast", "tile", "slow"))
    return (f"{stack.name}-calendar", *own, f"{stack.name}-slo-budgets")


# -- burn tiers


def _tier_file(stack: Stack, slo: Slo, tier: BurnTier, fastest: bool) -> File | None:
    long = names.duration(tier.long_seconds)
    evaluation = _evaluation(stack, tier.long_seconds)
    step = min(evaluation, SCRAPE_SECONDS)
    about = f"Proof of the {tier.severity} over {long} of {slo.name}, for promtool test rules"
    test = _tier_test(stack, slo, tier, fastest, step, evaluation)
    return test_file(
        f"slo-{slo.name}-{long}", about, ["calendar", *topics(stack, slo)], groups(stack, slo)[:-1], evaluation, [test]
    )


def _evaluation(stack: Stack, window_seconds: int) -> int:
    """How often a proof of a window evaluates: as the stack does for short ones, else some hundred times."""
    base = max(STEP_SECONDS, stack.evaluation_interval_seconds)
    wanted = window_seconds // STEPS_IN_A_WINDOW // base * base
    if wanted > SCRAPE_SECONDS:
        wanted = wanted // SCRAPE_SECONDS * SCRAPE_SECONDS
    return max(base, wanted)


def _tier_test(stack: Stack, slo: Slo, tier: BurnTier, fastest: bool, step: int, evaluation: int) -> Test:
    bad = (tier.long_seconds + tier.for_seconds) // step + 600 // step + 2 * evaluation // step
    calm = (tier.short_seconds + tier.keep_firing_for_seconds + 600) // step + 4 * evaluation // step
    cases = _burning(stack, slo, tier, bad, calm)
    if fastest:
        cases |= _doubtful(slo, tier, bad + calm, step) | _unsteady(slo, tier, bad, calm)
        cases |= _promised(stack, slo, tier, bad, calm)
    end = (bad + calm) * step
    fired, label = tuple(name for name, case in cases.items() if case.fires), stack.tenant_label
    alert = (("alertname", names.SLO_ALERT), ("alertstate", "firing"), ("burn", names.duration(tier.long_seconds)))
    ever = f"count_over_time({promql.series('ALERTS', *alert)}[{names.duration(end)}])"
    expected = (
        Expectation(f"count by ({label}) ({ever})", end, tuple((_tenant(stack, name), 1) for name in fired)),
        Expectation(f"count({promql.series('ALERTS', *alert)})", end, ()),
    )
    name = (
        f"{slo.name}: {tier.severity} over {names.duration(tier.long_seconds)} for {' and '.join(fired)}, and it ends"
    )
    return Test(name, step, _input(stack, slo, cases, bad + calm), expected)


def _limit(slo: Slo, tier: BurnTier, objective: Decimal | None = None) -> Decimal:
    """Share of bad events at which a tier alerts."""
    return windows.factor(tier, slo.window_seconds) * windows.budget(slo.default if objective is None else objective)


def _past(slo: Slo, limit: Decimal) -> Decimal:
    """A share of bad events that is surely past a limit. A probe has few events, so it takes an outage."""
    return Decimal(1) if _few(slo) else min(Decimal(1), limit * Decimal("1.3"))


def _few(slo: Slo) -> bool:
    return isinstance(slo.source, Probe)


def _burning(stack: Stack, slo: Slo, tier: BurnTier, bad: int, calm: int) -> Cases:
    limit = _limit(slo, tier)
    past, below = _past(slo, limit), limit * Decimal("0.9")
    steady = Phase(bad + calm, ZERO, VOLUME)
    return {
        "burns": Case((Phase(bad, past * VOLUME, VOLUME), Phase(calm, ZERO, VOLUME)), fires=True),
        "below-the-factor": Case((Phase(bad + calm, below * VOLUME, VOLUME),)),
        "healthy": Case((steady,)),
    }


def _doubtful(slo: Slo, tier: BurnTier, steps: int, step: int) -> Cases:
    """Tenants of whom too little is seen for a verdict, and one who has series and no traffic."""
    if _few(slo):
        return {"no-series": Case((Phase(steps, ZERO, None),))}
    if slo.guard.kind != "margin":
        return {"no-traffic": Case((Phase(steps, ZERO, ZERO),))}
    found = quiet(_limit(slo, tier), tier.long_seconds, step)
    return {name: Case((Phase(steps, bad, total),)) for name, (bad, total) in found.items()}


def _unsteady(slo: Slo, tier: BurnTier, bad: int, calm: int) -> Cases:
    """Restarts and late series are no errors; an outage over a restart is still one."""
    if _few(slo):
        return {"comes-late": Case((Phase(bad // 2, ZERO, None), Phase(bad - bad // 2 + calm, ZERO, VOLUME)))}
    half, rest = bad // 2, bad - bad // 2
    past = _past(slo, _limit(slo, tier)) * VOLUME
    below = _limit(slo, tier) * VOLUME / 2
    cases = {
        "restarts": Case((Phase(half, ZERO, VOLUME), Phase(rest + calm, ZERO, VOLUME, restart=True))),
        "burns-over-a-restart": Case(
            (Phase(half, past, VOLUME), Phase(rest, past, VOLUME, restart=True), Phase(calm, ZERO, VOLUME)), fires=True
        ),
        "comes-late": Case((Phase(half, ZERO, None), Phase(rest + calm, ZERO, VOLUME))),
    }
    if isinstance(slo.source, Ratio) and slo.source.part == "bad":
        cases["errors-come-late"] = Case(
            (Phase(half, ZERO, VOLUME), Phase(rest + calm, below, VOLUME)), late_errors=True
        )
    return cases


def _promised(stack: Stack, slo: Slo, tier: BurnTier, bad: int, calm: int) -> Cases:
    """The same errors for tenants who were promised more, or less, than the default."""
    if _few(slo):
        return {}
    cases: Cases = {}
    stricter = slo.default + (100 - slo.default) / 2
    promises: list[tuple[str, str, Decimal, Decimal | None]] = [
        (f"of-tier-{name}", name, objective, None) for name, objective in slo.by_tier
    ]
    promises.append(("with-an-own-objective", "listed", stricter, stricter))
    for name, belongs, objective, own in promises:
        limit = _limit(slo, tier, objective)
        share = {"past": _past(slo, limit), "below": limit * Decimal("0.9")}
        for side, part in share.items():
            phases = (Phase(bad, part * VOLUME, VOLUME), Phase(calm, ZERO, VOLUME))
            cases[f"{name}-{side}"] = Case(phases, belongs, own, fires=side == "past")
    return cases


# -- budgets


def _budget_file(stack: Stack, slo: Slo) -> File | None:
    about = f"Proof of the budget of {slo.name}, for promtool test rules"
    rules = ["calendar", *topics(stack, slo), "slo-budgets"]
    return test_file(
        f"slo-{slo.name}-budget", about, rules, groups(stack, slo), BUDGET_STEP_SECONDS, [_budget_test(stack, slo)]
    )


def _budget_test(stack: Stack, slo: Slo) -> Test:
    """A day and a half: what was spent, what is left, and the state of each tenant."""
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
        bad, total = (sum((both[part] for both in spent.values()), ZERO) for part in (0, 1))
        over_all = promql.series(names.rolled_up(names.SLO_BUDGET_CONSUMED, "slo"), (names.SLO_LABEL, slo.name))
        expected.append(_near(over_all, end, bad / total / share, f'{{{names.SLO_LABEL}="{slo.name}"}}'))
    expected += _states(stack, slo, end, cases)
    return Test(
        f"{slo.name}: budgets are those of the events",
        SCRAPE_SECONDS,
        _input(stack, slo, cases, first + second),
        tuple(expected),
    )


def _budget_cases(slo: Slo, first: int, second: int) -> Cases:
    share, few = windows.budget(slo.default), _few(slo)
    small = VOLUME if few else VOLUME / 10
    cases = {
        "half-spent": Case((Phase(first, ZERO, VOLUME), Phase(second, share * small * Decimal("1.5"), small))),
        "never-an-error": Case((Phase(first + second, ZERO, VOLUME),)),
        "exhausted": Case((Phase(first + second, min(Decimal(1), share * 2) * VOLUME, VOLUME),)),
        "vanished": Case((Phase(first + second, ZERO, None),)),
    }
    if not few:
        cases["hardly-seen"] = Case((Phase(first + second, ZERO, Decimal("0.1")),))
        cases["idle"] = Case((Phase(first + second, ZERO, ZERO),))
    return cases


def _states(stack: Stack, slo: Slo, end: int, cases: Cases) -> Iterator[Expectation]:
    states = {"never-an-error": 0, "vanished": 4, "hardly-seen": 3, "idle": 3}
    if slo.calendar is None and not _few(slo):
        states["exhausted"] = 2
    for name, state in states.items():
        if name in cases and not (_few(slo) and state == 0):
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


def _calendar_file(stack: Stack, slo: Slo, calendar: Calendar) -> File | None:
    """Half a day into a new month or quarter: the outage before it is forgotten, the errors since count."""
    begins, length = _first_period(calendar)
    every = {"month": 2 * HOUR, "quarter": 6 * HOUR}[calendar.unit]
    end, share = -(-(begins + 12 * HOUR) // every) * every, windows.budget(slo.default)
    # A 5m rate just after midnight still sees the minutes before it: the outage ends with them to come.
    before, bad = begins // SCRAPE_SECONDS - 1, min(Decimal(1), share * 4)
    phases = Phase(before, VOLUME, VOLUME), Phase(end // SCRAPE_SECONDS - before, bad * VOLUME, VOLUME)
    which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, "spoilt-before"))
    labels = promql.series("", *which)
    # The share of the whole period's budget: only so much of the period is over.
    consumed = bad / share * (end - begins) / length
    expected = (
        _near(f"(1 - {promql.series(names.SLO_SUCCESS, *which)})", end, bad, labels),
        _near(promql.series(names.SLO_BUDGET_CONSUMED, *which), end, consumed, labels),
    )
    series = _input(stack, slo, {"spoilt-before": Case(phases)}, end // SCRAPE_SECONDS)
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


def _excluded_file(stack: Stack, slo: Slo) -> File | None:
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
    tenant = ((stack.tenant_label, who),) if window.tenants else ()
    flag = promql.series(names.MAINTENANCE, *sorted((*tenant, ("window", window.name))))
    end, during, label = (on + after) * STEP_SECONDS, (on - 1) * STEP_SECONDS, stack.tenant_label
    which = ((names.SLO_LABEL, slo.name), (label, who))
    excluded = promql.series(names.SLO_EXCLUDED_RATE, *which)
    consumed = promql.series(names.SLO_BUDGET_CONSUMED, *which)
    expected = [
        Expectation(
            f"sum by ({label}) (sum_over_time({excluded}[{names.duration(end)}]) > bool 0)",
            end,
            ((_tenant(stack, who), 1),),
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
    series = (*_input(stack, slo, cases, on + after), (flag, f"1+0x{on - 1} stale"))
    return Test(f"{slo.name}: {window.name} leaves out what happens within it", STEP_SECONDS, series, tuple(expected))


def _of_window(stack: Stack, window: Maintenance) -> Iterator[File | None]:
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
        yield test_file(f"maintenance-{window.name}-{name}", about, ["calendar"], (), at, [test])


FIRST_SECONDS = 1_767_225_600
"""1 January 2026."""


# -- series


def _tenant(stack: Stack, name: str) -> str:
    return promql.series("", (stack.tenant_label, name))


def _input(stack: Stack, slo: Slo, cases: Cases, steps: int) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for name, case in cases.items():
        first, *phases = case.phases
        # One sample more: the one that the first step grows from.
        longer = replace(case, phases=(replace(first, steps=first.steps + 1), *phases))
        rows += _series(stack, slo, name, longer)
        labels = ((stack.tenant_label, name), ("tier", case.tier), ("vip", "false"))
        rows.append((promql.series(names.TENANT_INFO, *labels), constant("1", steps)))
        if case.objective is not None:
            which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, name))
            share = promql.number(case.objective / 100)
            rows.append((promql.series(names.OBJECTIVE, *which), constant(share, steps)))
    return tuple(rows)


def _series(stack: Stack, slo: Slo, name: str, case: Case) -> list[tuple[str, str]]:
    """The scraped series of a tenant. Raises `NoSample` for a class whose series cannot be made up."""
    who, source = (stack.tenant_label, name), slo.source
    if isinstance(source, Probe):
        values = " ".join(_gauge(phase) for phase in case.phases)
        return [(one_series(source.gauge, who), values)]
    if isinstance(source, Ratio):
        pair_ = pair(source, who)
        counted = _counter(case, bad=source.part == "bad", good=source.part == "good")
        if case.late_errors:
            first, *rest = case.phases
            late = (Stretch(first.steps, None), *(Stretch(phase.steps, phase.bad) for phase in rest))
            counted = counter(*late)
        others = _counter(
            case, bad=pair_.rest_is_total or source.part == "good", good=pair_.rest_is_total or source.part == "bad"
        )
        return [(pair_.counted, counted), (pair_.rest, others)]
    if isinstance(source, Latency) and not source.native:
        bound = dict(source.by_tier).get(case.tier, source.within_seconds)
        good, every = _counter(case, bad=False, good=True), _counter(case, bad=True, good=True)
        series = histogram(source.histogram, promql.number(bound), who)
        return [(series.good, good), (series.infinite, every), (series.count, every)]
    raise NoSample(
        "promtool of this Prometheus knows no native histograms"
        if isinstance(source, Latency)
        else "a share has no counters"
    )


def _counter(case: Case, *, bad: bool, good: bool) -> str:
    """A counter of bad events, of good ones or of both."""
    return counter(*(Stretch(phase.steps, _growth(phase, bad, good), phase.restart) for phase in case.phases))


def _growth(phase: Phase, bad: bool, good: bool) -> Decimal | None:
    if phase.total is None:
        return None
    return (phase.bad if bad else ZERO) + (phase.total - phase.bad if good else ZERO)


def _gauge(phase: Phase) -> str:
    if phase.total is None:
        return f"_x{phase.steps}"
    return constant(promql.number(round(1 - phase.bad / phase.total, 9) if phase.total else 1), phase.steps - 1)
