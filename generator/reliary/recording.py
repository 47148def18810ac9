"""Recording rules of indicators, health score, cost and tenant facts.

Counts are recorded first and divided last; every series keeps the tenant label and no other than it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from reliary import names, promql
from reliary.artifacts import Labels, Recording, RuleFile, RuleGroup
from reliary.model import Component, Events, Indicator, Price, Selector, Stack
from reliary.promql import number, series
from reliary.windows import CONFIDENCE_Z

TILE_SECONDS = 300
ESTIMATE_WINDOW_SECONDS = 7 * 86400
TILES_A_DAY = 86400 // TILE_SECONDS
FACTS_INTERVAL_SECONDS = 120
MINIMUM_COVERAGE = Decimal("0.6")


def count(stack: Stack, events: Events, window_seconds: int) -> str:
    """Events per tenant within a window."""
    if isinstance(events, Selector):
        return promql.sum_by([stack.tenant_label], promql.increase(events.text, window_seconds))
    return promql.sum_by([stack.tenant_label], events.text.replace(promql.WINDOW, names.duration(window_seconds)))


def recording_file(stack: Stack) -> RuleFile | None:
    """The series that people know: each indicator per tenant and over all, the health score, the cost estimate."""
    indicators = tuple(rule for indicator in stack.indicators for rule in _indicator(stack, indicator))
    health = tuple(_score(stack, names.health_series(stack), "point")) if stack.health else ()
    groups = [RuleGroup(f"{stack.name}-indicators", stack.evaluation_interval_seconds, indicators + health)]
    if stack.costs:
        groups.append(RuleGroup(f"{stack.name}-cost", FACTS_INTERVAL_SECONDS, (_estimate(stack),)))
    filled = tuple(group for group in groups if group.rules)
    return (
        RuleFile(names.rule_file("recording"), "Indicators, health score and cost, per tenant", filled)
        if filled
        else None
    )


def support_file(stack: Stack) -> RuleFile | None:
    """The counts, components and cost tiles that the known series and the guards are made of."""
    counts = tuple(rule for indicator in stack.indicators for rule in _counts(stack, indicator))
    groups = [
        RuleGroup(f"{stack.name}-counts", stack.evaluation_interval_seconds, counts + tuple(_health_support(stack))),
        RuleGroup(f"{stack.name}-cost-tiles", TILE_SECONDS, tuple(_tiles(stack))),
    ]
    filled = tuple(group for group in groups if group.rules)
    return (
        RuleFile(names.rule_file("support"), "Counts and components behind the known series", filled)
        if filled
        else None
    )


def facts_file(stack: Stack) -> RuleFile:
    """Who the tenants are and what they were promised, as series: alerting does not depend on the sidecar."""
    group = RuleGroup(f"{stack.name}-tenants", FACTS_INTERVAL_SECONDS, tuple(_facts(stack)))
    return RuleFile(names.rule_file("tenants"), "Tenant facts: tier, VIP, own objectives and budgets", (group,))


def counted(stack: Stack, indicator: Indicator, window_seconds: int) -> str:
    """The recorded series of what an indicator counts."""
    return names.events_series(stack, indicator, indicator.source.part, window_seconds)


def uncounted(stack: Stack, indicator: Indicator, window_seconds: int) -> str:
    """All other events; never below 0, which two counters read at different instants could give."""
    total = names.events_series(stack, indicator, "total", window_seconds)
    return f"clamp_min({total} - {counted(stack, indicator, window_seconds)}, 0)"


# -- indicators


def _windows(stack: Stack, indicator: Indicator) -> tuple[int, ...]:
    used = stack.health is not None and any(part.indicator == indicator.name for part in stack.health.components)
    both = {indicator.over_seconds} | ({stack.health.over_seconds} if stack.health and used else set())
    return tuple(sorted(both))


def _counts(stack: Stack, indicator: Indicator) -> Iterator[Recording]:
    for window in _windows(stack, indicator):
        total = names.events_series(stack, indicator, "total", window)
        yield Recording(total, count(stack, indicator.source.total, window))
        part = count(stack, indicator.source.counted, window)
        yield Recording(counted(stack, indicator, window), promql.zero_filled(part, total, [stack.tenant_label]))


def _indicator(stack: Stack, indicator: Indicator) -> Iterator[Recording]:
    name = names.indicator_series(stack, indicator)
    part, total = (
        counted(stack, indicator, indicator.over_seconds),
        names.events_series(stack, indicator, "total", indicator.over_seconds),
    )
    scale = f"{indicator.scale} * " if indicator.percent else ""
    yield Recording(name, scale + promql.share(part, total))
    yield Recording(names.all_tenants(name), scale + promql.share(f"sum({part})", f"sum({total})"))


# -- health


def _health_support(stack: Stack) -> Iterator[Recording]:
    if stack.health is None:
        return
    for component in stack.health.components:
        labels: Labels = (("component", component.name),)
        for bound in ("point", "upper"):
            yield Recording(names.component_series(stack, bound), _component(stack, component, bound), labels)
    yield Recording(names.health_coverage_series(stack), f"{_weights(stack)} / 100")
    for bound in ("point", "upper"):
        yield Recording(names.health_raw_series(stack, bound), _weighted(stack, bound))
    yield from _score(stack, names.health_upper_series(stack), "upper")


def _component(stack: Stack, component: Component, bound: str) -> str:
    """A straight line from `zero` to `full`, cut at 0 and 100."""
    assert stack.health is not None
    indicator, window = stack.indicator(component.indicator), stack.health.over_seconds
    rising = component.full > component.zero
    worse = (uncounted if rising else counted)(stack, indicator, window)
    events = worse if bound == "point" else f"clamp_min({worse} - {number(CONFIDENCE_Z)} * sqrt({worse}), 0)"
    lost = promql.share(events, names.events_series(stack, indicator, "total", window))
    share = f"(1 - {lost})" if rising else lost
    slope = 100 / abs(component.full - component.zero)
    distance = (
        f"{indicator.scale} * {share} - {number(component.zero)}"
        if rising
        else f"{number(component.zero)} - {indicator.scale} * {share}"
    )
    return f"clamp(({distance}) * {number(round(slope, 9))}, 0, 100)"


def _each(stack: Stack, bound: str, form: str) -> str:
    """`form` for each component, with `{w}` its weight and `{c}` its series, as one vector."""
    assert stack.health is not None
    name = names.component_series(stack, bound)
    parts = (
        form.format(w=component.weight, c=series(name, ("component", component.name)))
        for component in stack.health.components
    )
    return promql.sum_by([stack.tenant_label], "\n  or ".join(parts))


def _weights(stack: Stack) -> str:
    return _each(stack, "point", "{w} + 0 * {c}")


def _weighted(stack: Stack, bound: str) -> str:
    """The weighted mean over the components that have a value, if these make up enough of the score."""
    coverage = names.health_coverage_series(stack)
    return f"{_each(stack, bound, '{w} * {c}')}\n/ (100 * ({coverage} >= {number(MINIMUM_COVERAGE)}))"


def _score(stack: Stack, name: str, bound: str) -> Iterator[Recording]:
    """The floor rule. 40/40/20 with one component at 0 gives exactly 60, so `< 60` would never fire without it."""
    assert stack.health is not None
    raw, parts = names.health_raw_series(stack, bound), names.component_series(stack, bound)
    tenant = stack.tenant_label
    worst = f"min by ({tenant}) ({parts}) < {number(stack.health.floor_below)}"
    capped = f"clamp_max({raw}, {number(stack.health.floor_ceiling)}) and on ({tenant}) ({worst})"
    yield Recording(name, f"{capped}\nor on ({tenant})\n{raw}")


# -- cost


def _tiles(stack: Stack) -> Iterator[Recording]:
    for price in stack.costs.prices if stack.costs else ():
        yield Recording(names.cost_tile_series(stack), _spent(stack, price), (("resource", price.resource),))


def _spent(stack: Stack, price: Price) -> str:
    return f"{count(stack, price.counter, TILE_SECONDS)} * {number(price.usd)} / {number(price.per)}"


def _estimate(stack: Stack) -> Recording:
    """Mean spend over whole weeks, for 30 days. A `rate[1h] * 720` would be off by the whole daily shape."""
    tile, tenant = names.cost_tile_series(stack), stack.tenant_label
    window = names.duration(ESTIMATE_WINDOW_SECONDS)
    points = f"max by ({tenant}) (count_over_time({tile}[{window}]))"
    spent = promql.sum_by([tenant], promql.sum_over_time(tile, ESTIMATE_WINDOW_SECONDS))
    current = f"max by ({tenant}) (last_over_time({tile}[1h]))"
    return Recording(
        names.cost_estimate_series(stack),
        f"{spent}\n/ ({points} >= {TILES_A_DAY})\n* {30 * TILES_A_DAY}\nand on ({tenant}) {current}",
    )


# -- facts


def _facts(stack: Stack) -> Iterator[Recording]:
    """One rule a tenant, and one for each promise that is its own: what tiers share stands in the rules that ask."""
    label = stack.tenant_label
    for tenant in stack.tenants:
        who = ((label, tenant.id), ("tier", tenant.tier), ("vip", "true" if tenant.vip else "false"))
        yield Recording(names.TENANT_INFO, "vector(1)", who)
    classes = [slo.name for slo in stack.slos]
    for tenant in stack.tenants:
        own = dict(tenant.objectives)
        for slo in classes if own else ():
            if slo in own:
                yield Recording(
                    names.OBJECTIVE, _constant(own[slo] / 100), ((label, tenant.id), (names.SLO_LABEL, slo))
                )
    for tenant in stack.tenants if stack.costs else ():
        if tenant.budget is not None:
            for level, usd in (("warn", tenant.budget.warn_usd), ("critical", tenant.budget.critical_usd)):
                yield Recording(names.COST_BUDGET, _constant(usd), ((label, tenant.id), ("level", level)))


def _constant(value: Decimal) -> str:
    return f"vector({number(value)})"
