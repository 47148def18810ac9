"""Proofs of the SLO classes: promtool tests that are made from the definitions, never from the text of a rule.

Tenants are the cases and carry their names. For each burn tier: who burns past its factor is alerted on and nobody
else, and it ends. For the fastest one also: too few requests, restarts of counters, series that come late, own
objectives. For each budget: what was made up is what is read, for tenants, tiers and all. Long windows are run at
long steps, so that a proof of three days takes a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from reliary import names, promql, windows
from reliary.artifacts import File
from reliary.model import BurnTier, Latency, Ratio, Slo, Stack
from reliary.promtool import Expectation, Test, test_file
from reliary.proofs import quiet
from reliary.slo.budgetproofs import budget_file, calendar_file, composite_file, excluded_file, window_files
from reliary.slo.cases import (
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
    reason,
    tenant,
    topics,
)

STEPS_IN_A_WINDOW = 240


def slo_proofs(stack: Stack) -> tuple[File, ...]:
    """`tests/slo-*.yml` and `tests/maintenance-*.yml`."""
    files = [file for slo in stack.slos if not reason(stack, slo) for file in _of_class(stack, slo)]
    planned = [window for window in stack.maintenance if window.excluded]
    files += [composite_file(stack, composite) for composite in stack.composites]
    files += [file for window in planned for file in window_files(stack, window)]
    return tuple(file for file in files if file is not None)


def unproven(stack: Stack) -> tuple[tuple[str, str], ...]:
    """SLOs for which no traffic could be made up, each with the reason; their alerts have no proof."""
    return tuple((slo.name, why) for slo in stack.slos if (why := reason(stack, slo)))


def _of_class(stack: Stack, slo: Slo) -> Iterator[File | None]:
    tiers = sorted(slo.burn, key=lambda tier: tier.long_seconds)
    for tier in tiers:
        yield _tier_file(stack, slo, tier, fastest=tier is tiers[0])
    yield budget_file(stack, slo)
    if slo.calendar is not None:
        yield calendar_file(stack, slo, slo.calendar)
    if stack.exclusions(slo.name):
        yield excluded_file(stack, slo)


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
    # Long enough for a window of calm and a spike after it; then until nothing fires any more.
    bad = (tier.long_seconds * 5 // 4 + tier.for_seconds + 600 + 2 * evaluation) // step
    calm = (tier.short_seconds + tier.keep_firing_for_seconds + 600 + 4 * evaluation) // step
    cases = _burning(slo, tier, bad, calm, step) | _doubtful(slo, tier, bad + calm, step, fastest)
    if fastest:
        cases |= _unsteady(slo, tier, bad, calm) | _promised(slo, tier, bad, calm)
    end = (bad + calm) * step
    fired, label = tuple(name for name, case in cases.items() if case.fires), stack.tenant_label
    alert = (("alertname", names.SLO_ALERT), ("alertstate", "firing"), ("burn", names.duration(tier.long_seconds)))
    firing = promql.series("ALERTS", *alert)
    named = tuple((tenant(stack, name), 1) for name in fired)
    # The short window has forgotten by then; what still fires is kept from chattering.
    recovered = bad * step + tier.short_seconds + 600 + 2 * evaluation
    expected = (
        Expectation(f"count by ({label}) (count_over_time({firing}[{names.duration(end)}]))", end, named),
        Expectation(f"count by ({label}) ({firing})", recovered, named if tier.keep_firing_for_seconds else ()),
        Expectation(f"count({firing})", end, ()),
    )
    name = (
        f"{slo.name}: {tier.severity} over {names.duration(tier.long_seconds)} for {' and '.join(fired)}, and it ends"
    )
    return Test(name, step, input_series(stack, slo, cases, bad + calm), expected)


def _limit(slo: Slo, tier: BurnTier, objective: Decimal | None = None) -> Decimal:
    """Share of bad events at which a tier alerts."""
    return windows.factor(tier, slo.window_seconds) * windows.budget(slo.default if objective is None else objective)


def _past(slo: Slo, limit: Decimal) -> Decimal:
    """A share of bad events that is surely past a limit. A probe has few events, so it takes an outage."""
    return Decimal(1) if few(slo) else min(Decimal(1), limit * Decimal("1.3"))


def _burning(slo: Slo, tier: BurnTier, bad: int, calm: int, step: int) -> Cases:
    """Past the limit, within it, not at all; and far past it for a quarter of the long window, which is too short."""
    limit = _limit(slo, tier)
    past, below = _past(slo, limit), limit * Decimal("0.9")
    spike = min(Decimal(1), 3 * limit)
    far = max(past, spike)
    before, quarter = tier.long_seconds // step, tier.long_seconds // 4 // step
    rest = bad + calm - before - quarter
    return {
        "burns": Case((Phase(bad, far * VOLUME, VOLUME), Phase(calm, ZERO, VOLUME)), fires=True),
        "just-past-the-factor": Case((Phase(bad, past * VOLUME, VOLUME), Phase(calm, ZERO, VOLUME)), fires=True),
        "below-the-factor": Case((Phase(bad + calm, below * VOLUME, VOLUME),)),
        "a-spike": Case(
            (
                Phase(before, ZERO, VOLUME),
                Phase(quarter, spike * VOLUME, VOLUME),
                Phase(rest, ZERO, VOLUME),
            )
        ),
        "healthy": Case((Phase(bad + calm, ZERO, VOLUME),)),
    }


def _doubtful(slo: Slo, tier: BurnTier, steps: int, step: int, fastest: bool) -> Cases:
    """Tenants of whom too little is seen for a verdict, and one who has series and no traffic.

    At the long steps of slow tiers a recorded rate sees but a part of the events: there only the fewest are tried.
    """
    if few(slo):
        return {"no-series": Case((Phase(steps, ZERO, None),))}
    if slo.guard.kind != "margin":
        return {"no-traffic": Case((Phase(steps, ZERO, ZERO),))}
    found = quiet(_limit(slo, tier), tier.long_seconds, step)
    chosen = found if fastest else {name: found[name] for name in ("no-traffic", "one-bad-request", "one-bad-in-ten")}
    return {name: Case((Phase(steps, bad, total),)) for name, (bad, total) in chosen.items()}


def _unsteady(slo: Slo, tier: BurnTier, bad: int, calm: int) -> Cases:
    """Restarts and late series are no errors; an outage over a restart is still one."""
    if few(slo):
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


def _promised(slo: Slo, tier: BurnTier, bad: int, calm: int) -> Cases:
    """The same for tenants who were promised more, or less, than the default: of their tier, or by themselves."""
    if few(slo):
        return {}
    cases: Cases = {}
    stricter = slo.default + (100 - slo.default) / 2
    tiers = dict.fromkeys(_tiers(slo), slo.default) | dict(slo.by_tier)
    promises: list[tuple[str, str, Decimal, Decimal | None]] = [
        (f"of-tier-{name}", name, objective, None) for name, objective in tiers.items()
    ]
    promises.append(("with-an-own-objective", "listed", stricter, stricter))
    for name, belongs, objective, own in promises:
        limit = _limit(slo, tier, objective)
        share = {"past": _past(slo, limit), "below": limit * Decimal("0.9")}
        for side, part in share.items():
            phases = (Phase(bad, part * VOLUME, VOLUME), Phase(calm, ZERO, VOLUME))
            cases[f"{name}-{side}"] = Case(phases, belongs, own, fires=side == "past")
    return cases


def _tiers(slo: Slo) -> tuple[str, ...]:
    """The tiers with a bound of their own."""
    return tuple(name for name, _ in slo.source.by_tier) if isinstance(slo.source, Latency) else ()
