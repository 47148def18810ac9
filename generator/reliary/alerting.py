"""Alerts on indicators, health, cost and the stack itself. Burn-rate alerts stand beside their rules in `slos.py`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, TypeAlias

from reliary import names, recording
from reliary.artifacts import Alert, Labels, RuleFile, RuleGroup, Site
from reliary.exporterfile import stale_seconds
from reliary.guards import Bound, Guard, History, Margin, NotTraffic
from reliary.model import Budget, Indicator, Stack, Threshold
from reliary.promql import any_of, number, quoted, series
from reliary.windows import CONFIDENCE_Z

Level: TypeAlias = Literal["warn", "critical"]

LAST_REFRESH = "reliary_last_refresh_timestamp_seconds"


def notes(stack: Stack, site: Site, alert: str, summary: str, description: str) -> Labels:
    """What a notification says. `summary` and `description` are templates; escape user text with `literal` first."""
    who = f"{{{{ $labels.{stack.tenant_label} }}}}"
    return (
        ("summary", f"{who}: {summary}"),
        ("description", f"{who}: {description}"),
        *_links(stack, site, alert, tenant=True),
    )


def literal(text: str) -> str:
    """Text that a user wrote, for a place that Prometheus and Alertmanager read as a Go template."""
    return text.replace("{{", '{{ "{{" }}')


def alert_file(stack: Stack, site: Site) -> RuleFile | None:
    """The alerts that the definitions ask for, one each, for all tenants at once."""
    if not stack.thresholds:
        return None
    rules = tuple(_threshold(stack, site, threshold) for threshold in stack.thresholds)
    group = RuleGroup(f"{stack.name}-alerts", stack.evaluation_interval_seconds, rules)
    return RuleFile(names.rule_file("alerts"), "Alerts of the definitions, each guarded per tenant", (group,))


def cost_file(stack: Stack, site: Site) -> RuleFile | None:
    """Alerts on the 30-day spend; None without prices."""
    if stack.costs is None:
        return None
    rules = (
        _cost(stack, site, "CostBudgetWarning", "warn", "general"),
        _cost(stack, site, "CostBudgetExceeded", "critical", "warning"),
    )
    group = RuleGroup(f"{stack.name}-cost-alerts", recording.FACTS_INTERVAL_SECONDS, rules)
    return RuleFile(names.rule_file("costs"), "Alerts on the estimated spend of 30 days", (group,))


def meta_file(stack: Stack, site: Site) -> RuleFile:
    """Alerts on the stack itself, and the watchdog that proves that the whole way to a person works."""
    group = RuleGroup(f"{stack.name}-meta", stack.evaluation_interval_seconds, tuple(_meta(stack, site)))
    return RuleFile(names.rule_file("meta"), "The stack watches itself", (group,))


# -- thresholds


def _threshold(stack: Stack, site: Site, threshold: Threshold) -> Alert:
    health = threshold.indicator == "health_score"
    value = (
        names.health_series(stack) if health else names.indicator_series(stack, stack.indicator(threshold.indicator))
    )
    condition = f"{value} {threshold.direction} {number(threshold.limit)}"
    if threshold.scope == "vip":
        condition += f"\nand on ({stack.tenant_label}) {series(names.TENANT_INFO, ('vip', 'true'))}"
    return Alert(
        alert=threshold.alert,
        condition=condition,
        guard=_health_guard(stack, threshold) if health else _indicator_guard(stack, threshold),
        on=(stack.tenant_label,),
        for_seconds=threshold.for_seconds,
        labels=(
            ("severity", threshold.severity),
            ("kind", "health" if health else "indicator"),
            ("indicator", threshold.indicator),
        ),
        annotations=notes(
            stack, site, threshold.alert, literal(threshold.summary), _what(stack, threshold, None if health else value)
        ),
    )


def _indicator_guard(stack: Stack, threshold: Threshold) -> Guard:
    """The margin on the events that speak for the alert: those counted for `>`, all others for `<`."""
    indicator = stack.indicator(threshold.indicator)
    share = threshold.limit / indicator.scale
    window = indicator.over_seconds
    above = threshold.direction == ">"
    return Margin(
        events=(recording.counted if above else recording.uncounted)(stack, indicator, window),
        total=names.events_series(stack, indicator, "total", window),
        limit=number(share if above else 1 - share),
        z=CONFIDENCE_Z,
    )


def _health_guard(stack: Stack, threshold: Threshold) -> Guard:
    return Bound(names.health_upper_series(stack), threshold.direction, threshold.limit)


def _what(stack: Stack, threshold: Threshold, indicator_series: str | None) -> str:
    side = "below" if threshold.direction == "<" else "above"
    if indicator_series is None:
        return f'health score {{{{ printf "%.0f" $value }}}}, {side} {number(threshold.limit)} of 100.'
    indicator = stack.indicator(threshold.indicator)
    shown = '{{ printf "%.1f" $value }} %' if indicator.percent else "{{ $value | humanizePercentage }}"
    limit = f"{number(threshold.limit * 100 / indicator.scale)} %"
    window = names.duration(indicator.over_seconds)
    return f"{indicator.name} is {shown} over {window}, {side} {limit}. {literal(_sentence(indicator))}"


def _sentence(indicator: Indicator) -> str:
    return indicator.description.rstrip(".") + "."


# -- cost


def _cost(stack: Stack, site: Site, alert: str, level: Level, severity: str) -> Alert:
    return Alert(
        alert=alert,
        condition=_overspent(stack, level),
        guard=History(names.cost_tile_series(stack), "7d", recording.TILES_A_DAY),
        on=(stack.tenant_label,),
        for_seconds=3600,
        labels=(("severity", severity), ("kind", "cost"), ("level", level)),
        annotations=notes(
            stack,
            site,
            alert,
            "spends more than planned",
            f'about {{{{ printf "%.2f" $value }}}} USD in 30 days at this pace, above the {level} budget.',
        ),
    )


def _overspent(stack: Stack, level: Level) -> str:
    """Above the tenant's own limit, else its tier's, else the default, which also holds for tenants not listed.

    `max by` because one duplicate fact would otherwise blind all tenants; an hour of `last_over_time` because facts
    may be late after a restart.
    """
    assert stack.costs is not None
    on, spent = f"on ({stack.tenant_label})", names.cost_estimate_series(stack)
    own = _lately(series(names.COST_BUDGET, ("level", level)))
    tiers = {tier.name: _usd(tier.budget, level) for tier in stack.tiers if tier.budget is not None}
    above = [f"{spent} > {on} max by ({stack.tenant_label}) ({own})"]
    for tier, usd in tiers.items():
        members = _lately(series(names.TENANT_INFO, ("tier", tier)))
        above.append(f"{spent} > {number(usd)}\n  and {on} {members}\n  unless {on} {own}")
    others = f"{spent} > {number(_usd(stack.costs.budget, level))}\n  unless {on} {own}"
    if tiers:
        others += f"\n  unless {on} {_lately(f'{names.TENANT_INFO}{{tier=~{quoted(any_of(list(tiers)))}}}')}"
    return "(" + "\nor\n".join([*above, others]) + ")"


def _usd(budget: Budget, level: Level) -> Decimal:
    return budget.warn_usd if level == "warn" else budget.critical_usd


def _lately(selector: str) -> str:
    return f"last_over_time({selector}[1h])"


# -- the stack itself


def _meta(stack: Stack, site: Site) -> Iterator[Alert]:
    def alert(name: str, condition: str, minutes: int, summary: str, severity: str = "warning") -> Alert:
        return Alert(
            alert=name,
            condition=condition,
            guard=NotTraffic("watches the stack, not requests"),
            on=(),
            for_seconds=60 * minutes,
            labels=(("severity", severity), ("kind", "platform")),
            annotations=(("summary", summary), *_links(stack, site, name, tenant=False)),
        )

    exporter = series("up", ("job", names.EXPORTER_JOB))
    stale = 2 * stale_seconds(stack)
    yield alert(names.WATCHDOG, "vector(1)", 0, "Always firing: when it stops arriving, alerting is broken.", "none")
    yield alert(
        "RuleEvaluationFailing",
        "increase(prometheus_rule_evaluation_failures_total[5m]) > 0",
        5,
        "Rules fail in {{ $labels.rule_group }}: what they record or alert on is missing.",
    )
    yield alert(
        "RuleEvaluationMissed",
        "increase(prometheus_rule_group_iterations_missed_total[5m]) > 0",
        15,
        "{{ $labels.rule_group }} takes longer than its interval: budgets lose minutes.",
    )
    yield alert(
        "TargetDown",
        f'up{{job!="{names.EXPORTER_JOB}"}} == 0',
        5,
        "{{ $labels.job }} at {{ $labels.instance }} is not scraped.",
    )
    yield alert("ExporterDown", f"{exporter} == 0 or absent({exporter})", 5, "The exporter is not scraped.")
    yield alert(
        "ExporterStale",
        f"time() - {LAST_REFRESH} > {stale}\nor {exporter} == 1 unless on (instance) {LAST_REFRESH}",
        5,
        "The exporter runs but reads nothing new from Prometheus.",
    )
    if any(service.probes for service in stack.services):
        yield alert("ProbeFailing", "probe_success == 0", 3, "{{ $labels.instance }} does not answer with 2xx.")
    yield alert(
        "TenantFactsMissing",
        f"absent({names.TENANT_INFO})",
        15,
        "Tenant facts are gone: VIP alerts and own objectives do not hold.",
    )
    if stack.slos:
        yield alert(
            "SloErrorsExceedTotal",
            f"max by ({names.SLO_LABEL}) ({names.SLO_ERRORS_RATE} / ({names.SLO_TOTAL_RATE} > 0)) > 1.1",
            15,
            "{{ $labels.slo }} counts more bad events than events: what it calls bad is no part of its total.",
        )
    if (seen := _traffic(stack)) is not None:
        yield alert(
            "TenantsUnlisted",
            f"count({seen} unless on ({stack.tenant_label}) {names.TENANT_INFO}) > 0",
            30,
            "{{ $value }} tenants send traffic but are not in the definitions; class defaults hold for them.",
            "general",
        )


def _traffic(stack: Stack) -> str | None:
    """A series that every tenant with traffic has."""
    if stack.slos:
        return series(names.SLO_TOTAL_RATE, (names.SLO_LABEL, stack.slos[0].name))
    if stack.indicators:
        first = stack.indicators[0]
        return names.events_series(stack, first, "total", first.over_seconds)
    return None


def _links(stack: Stack, site: Site, alert: str, tenant: bool) -> Labels:
    base = stack.runbook_base_url
    runbook = f"{base.rstrip('/')}/{alert}.md" if base else names.runbook(alert)
    links: Labels = (("runbook_url" if base else "runbook", runbook),)
    if tenant and stack.boards:
        chosen = f"?var-tenant={{{{ $labels.{stack.tenant_label} | urlquery }}}}"
        links += (("dashboard", f"{site.grafana_url}/d/{stack.boards[0].uid}{chosen}"),)
    return links
