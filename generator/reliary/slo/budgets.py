"""Budgets of every class at once: what remains, the state of each tenant, roll-ups and composites.

These rules do not depend on the number of classes or tenants (but for a line a class in the state): all they need
is recorded by the classes under the same names. Roll-ups add up what was allowed and what was bad, so a tenant
counts by its events and by its own objective.
"""

from __future__ import annotations

from collections.abc import Iterator

from reliary import maintenance, names, promql, windows, zones
from reliary.artifacts import Labels, Recording, RuleFile, RuleGroup
from reliary.model import Composite, Slo, Stack
from reliary.promql import number, series
from reliary.slo import calendars
from reliary.slo.rules import SLOW_SECONDS

CONSUMED, TOTAL, BUDGET = names.SLO_BUDGET_CONSUMED, names.SLO_TOTAL_WINDOW, names.SLO_BUDGET


def calendar_file(stack: Stack) -> RuleFile | None:
    """How long the windows of the SLOs are and how much of them is over; None without SLOs."""
    used = [slo.calendar.zone for slo in stack.slos if slo.calendar]
    rules = (*zones.clocks_of(used, names.CALENDAR_CLOCK), *calendars.windows_of(stack))
    if not rules:
        return None
    group = RuleGroup(f"{stack.name}-calendar", stack.evaluation_interval_seconds, rules)
    return RuleFile(names.rule_file("calendar"), "Windows of the SLOs", (group,))


def maintenance_file(stack: Stack) -> RuleFile | None:
    """Planned windows, evaluated as often as the fast rules that read them; None without any."""
    flags = tuple(maintenance.flags(stack))
    if not flags:
        return None
    rules = (*zones.clocks_of(maintenance.zones_of(stack), names.MAINTENANCE_CLOCK), *flags)
    group = RuleGroup(f"{stack.name}-maintenance", stack.evaluation_interval_seconds, rules)
    return RuleFile(names.rule_file("maintenance"), "Planned windows, while they are on", (group,))


def budget_file(stack: Stack) -> RuleFile | None:
    """What is the same for every class; None without SLOs."""
    if not stack.slos:
        return None
    rules = (
        *(rule for composite in stack.composites for rule in _composite(stack, composite)),
        *_remaining(),
        Recording(names.SLO_STATE, _state(stack)),
        *(rule for level in ("slo", "tier_slo") for rule in _rolled_up(stack, level)),
        *_info(stack),
    )
    group = RuleGroup(f"{stack.name}-slo-budgets", SLOW_SECONDS, rules)
    return RuleFile(names.rule_file("slo-budgets"), "Budgets, states and roll-ups of all SLOs", (group,))


def _remaining() -> Iterator[Recording]:
    on = f"on ({names.SLO_LABEL}) group_left ()"
    yield Recording(names.SLO_BUDGET_REMAINING, f"1 - {CONSUMED}")
    yield Recording(
        names.SLO_BUDGET_MINUTES,
        f"{names.SLO_BUDGET_REMAINING} * {BUDGET}\n* {on} {names.SLO_WINDOW_SECONDS} / 60",
    )
    yield Recording(
        names.SLO_SUCCESS, f"clamp(1 - {CONSUMED} * {BUDGET}\n/ {on} ({names.SLO_WINDOW_ELAPSED} > 0), 0, 1)"
    )


def _info(stack: Stack) -> Iterator[Recording]:
    """Labels that describe, on series of their own: an edited owner does not break a month of history."""
    for slo in stack.slos:
        labels: Labels = ((names.SLO_LABEL, slo.name), ("owner", slo.owner), ("window", calendars.name(slo)))
        yield Recording(names.SLO_INFO, "vector(1)", labels)
    for composite in stack.composites:
        window = calendars.name(next(slo for slo in stack.slos if slo.name in composite.of))
        yield Recording(
            names.SLO_INFO,
            "vector(1)",
            ((names.SLO_LABEL, composite.name), ("owner", composite.owner), ("window", window)),
        )


def _composite(stack: Stack, composite: Composite) -> Iterator[Recording]:
    """The same three series as a class has, so that all else holds for composites as well."""
    label, tenant = ((names.SLO_LABEL, composite.name),), [stack.tenant_label]
    parts = f"{{{names.SLO_LABEL}=~{promql.quoted(promql.any_of(composite.of))}}}"
    allowed = promql.sum_by(tenant, f"{BUDGET}{parts} * {TOTAL}{parts}")
    bad = promql.sum_by(tenant, f"{CONSUMED}{parts} * {BUDGET}{parts} * {TOTAL}{parts}")
    total = promql.sum_by(tenant, f"{TOTAL}{parts}")
    yield Recording(TOTAL, total, label)
    yield Recording(BUDGET, f"{allowed}\n/ ({total} > 0)", label)
    yield Recording(CONSUMED, f"{bad}\n/ ({allowed} > 0)", label)


def _rolled_up(stack: Stack, level: str) -> Iterator[Recording]:
    def added(expr: str) -> str:
        if level == "slo":
            return f"sum by ({names.SLO_LABEL}) ({expr})"
        # One tier for each tenant, even while a move from one to the other is under way.
        tier = f"topk by ({stack.tenant_label}) (1, {names.TENANT_INFO})"
        joined = f"({expr})\n  * on ({stack.tenant_label}) group_left (tier) {tier}"
        return f"sum by ({names.SLO_LABEL}, tier) ({joined})"

    on, elapsed = f"on ({names.SLO_LABEL}) group_left ()", names.SLO_WINDOW_ELAPSED
    allowed, bad = added(f"{BUDGET} * {TOTAL}"), added(f"{CONSUMED} * {BUDGET} * {TOTAL}")
    consumed = names.rolled_up(CONSUMED, level)
    yield Recording(consumed, f"{bad}\n/ ({allowed} > 0)")
    yield Recording(names.rolled_up(names.SLO_BUDGET_REMAINING, level), f"1 - {consumed}")
    yield Recording(
        names.rolled_up(names.SLO_SUCCESS, level),
        f"clamp(1 - {bad}\n/ ({added(TOTAL)} > 0)\n/ {on} ({elapsed} > 0), 0, 1)",
    )


def _state(stack: Stack) -> str:
    """The first that holds, for listed tenants and for those with traffic; see `names.STATES` for the numbers."""
    keep = f"{stack.tenant_label}, {names.SLO_LABEL}"
    interval, z = stack.evaluation_interval_seconds, number(windows.CONFIDENCE_Z)
    allowed = f"({interval} * {TOTAL} * {BUDGET})"
    burning = f"max by ({keep}) ({series('ALERTS', ('alertname', names.SLO_ALERT), ('alertstate', 'firing'))})"
    surely = (
        f"({CONSUMED} >= 1 and on ({keep}) ({allowed} >= 1 or {CONSUMED} - {z} * sqrt({CONSUMED} / {allowed}) > 1))"
    )
    parts = [
        *(f"5 + 0 * {expr}" for slo in stack.slos if (expr := _in_maintenance(stack, slo))),
        *(f"4 + 0 * {_without_data(stack, slo)}" for slo in stack.slos),
        f"2 + 0 * {surely}",
        f"1 + 0 * {burning}",
        f"3 + 0 * ({allowed} < 1)",
        f"0 * {CONSUMED}",
        f"3 + 0 * {names.SLO_TOTAL_RATE}",
    ]
    return f"\nor on ({keep})\n".join(parts)


def _listed(stack: Stack, slo: Slo) -> str:
    who = f"max by ({stack.tenant_label}) ({names.TENANT_INFO})"
    return f'label_replace({who}, "{names.SLO_LABEL}", "{slo.name}", "", "")'


def _without_data(stack: Stack, slo: Slo) -> str:
    seen = series(names.SLO_TOTAL_RATE, (names.SLO_LABEL, slo.name))
    return f"({_listed(stack, slo)} unless on ({stack.tenant_label}) {seen})"


def _in_maintenance(stack: Stack, slo: Slo) -> str:
    """Listed tenants within a planned window; empty without windows."""
    listed = _listed(stack, slo)
    scopes = [f"({listed} and {mask})" for mask in maintenance.masks(stack, slo.name)]
    return f"({' or '.join(scopes)})" if scopes else ""
