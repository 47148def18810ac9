"""One page for each alert: what it means, who is called, what to do first, what to look at, how to silence it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from reliary import names
from reliary.artifacts import Alert, File, RuleFile, Site
from reliary.assets import asset
from reliary.definitions.schema import ALERT_NAME, THRESHOLD
from reliary.definitions.shapes import Faults, Map, Record
from reliary.definitions.yamltree import parse
from reliary.guards import Bound, BurnMargin, Guard, History, Margin, MinimumEvents, NotTraffic, Unguarded
from reliary.kept import kept
from reliary.model import Indicator, Route, Stack, Threshold
from reliary.names import duration
from reliary.promql import number, series
from reliary.routes import NOBODY, route_of

if TYPE_CHECKING:
    from jinja2 import Template

TENANT = "TENANT"


@dataclass(frozen=True, slots=True)
class _Query:
    what: str
    expr: str


@dataclass(frozen=True, slots=True)
class _Call:
    """Who is called: a row of the table, once for all alerts and tenants that it is the same for."""

    severity: str
    who: str
    receiver: str
    within: str


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    summary: str
    steps: tuple[str, ...]
    calls: tuple[_Call, ...]
    when: str
    lasting: str
    guard: str
    queries: tuple[_Query, ...]
    rules: tuple[str, ...]
    silence: str


def runbook_files(stack: Stack, site: Site, rules: tuple[RuleFile, ...]) -> tuple[File, ...]:
    """`runbooks/<alert>.md` for each alert name, in the order of the rules. Burn tiers and SLOs share a page."""
    alerts: dict[str, list[Alert]] = {}
    for rule in (rule for file in rules for group in file.groups for rule in group.rules):
        if isinstance(rule, Alert):
            alerts.setdefault(rule.alert, []).append(rule)
    return tuple(File(names.runbook(name), _text(_page(stack, site, same))) for name, same in alerts.items())


def markdown(text: str) -> str:
    """Text that a user wrote, as plain words in Markdown and in the HTML that a viewer makes of it."""
    text = text.strip()
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
    plain = "".join(entities.get(char, f"\\{char}" if char in "\\`*_{}[]#!" else char) for char in text)
    # A list, a rule or a fence may begin here: as an entity the first mark means nothing.
    return f"&#{ord(text[0])};{plain[1:]}" if re.match(r"[-+=~]|[0-9]+(?:[.)]|$)", text) else plain


def _text(page: _Page) -> str:
    return kept("runbook", (_source(), page), lambda: _template().render(page=page))


@cache
def _source() -> str:
    return asset("rules", "runbook.md.j2").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    return environment.from_string(_source())


@cache
def _builtin() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Summary and first steps of the alerts that every stack has."""
    tree = parse("rules/builtin_alerts.yml", asset("rules", "builtin_alerts.yml").read_bytes())
    assert tree is not None
    faults = Faults()
    read = Map(ALERT_NAME, Record({key: THRESHOLD.keys[key] for key in ("summary", "first_steps")})).read(tree, faults)
    assert read is not None
    assert not faults.problems, faults.problems
    rows = {entry.key: entry.value.value for entry in read.value if entry.value is not None}
    return {
        name: (row.get("summary", str), tuple(item.value for item in row.items("first_steps", str)))
        for name, row in rows.items()
    }


def _page(stack: Stack, site: Site, alerts: list[Alert]) -> _Page:
    alert = alerts[0]
    threshold = next((row for row in stack.thresholds if row.alert == alert.alert), None)
    summary, steps = (threshold.summary, threshold.first_steps) if threshold else _builtin()[alert.alert]
    return _Page(
        name=alert.alert,
        summary=markdown(summary),
        steps=tuple(markdown(step) for step in steps) if threshold else steps,
        calls=tuple(dict.fromkeys(call for same in alerts for call in _calls(stack, same, threshold))),
        when=f"`{threshold.indicator} {threshold.direction} {number(threshold.limit)}`" if threshold else "",
        lasting=duration(alert.for_seconds) if alert.for_seconds else "",
        guard=_guard(alert.guard),
        queries=tuple(_queries(stack, alert.alert, threshold)),
        rules=tuple(same.expr for same in alerts),
        silence=_silence(stack, site, alert),
    )


def _calls(stack: Stack, alert: Alert, threshold: Threshold | None) -> Iterator[_Call]:
    """The receiver for a VIP's alert and for any other tenant's; one row where that is the same."""
    labels = dict(alert.labels) | {"alertname": alert.alert}
    vip = route_of(stack, labels | {stack.tenant_label: stack.vips[0].id}) if alert.on and stack.vips else None
    other = route_of(stack, labels)
    severity = labels["severity"]
    if vip is not None and (vip != other or (threshold and threshold.scope == "vip")):
        yield _call(severity, "VIP tenants", vip)
    if threshold is None or threshold.scope == "all":
        yield _call(severity, "other tenants" if vip is not None and vip != other else "all", other)


def _call(severity: str, who: str, route: Route | None) -> _Call:
    within = duration(route.respond_within_seconds) if route and route.respond_within_seconds else ""
    return _Call(severity, who, route.to if route else NOBODY, within)


def _guard(guard: Guard) -> str:
    match guard:
        case Margin() | BurnMargin():
            return "the bad events exceed the limit by a 95 % margin, so a few requests cannot fire it"
        case Bound():
            return "the score is past the limit even with the benefit of the doubt (95 %) for each component"
        case History():
            return "at least one day of cost was recorded"
        case MinimumEvents():
            return f"at least {guard.least_bad} bad events among at least {guard.least_total} in the long window"
        case Unguarded(reason):
            return f"none: it was {reason}, so a single bad request can fire it"
        case NotTraffic(reason):
            return f"none is needed: it {reason}"


def _queries(stack: Stack, alert: str, threshold: Threshold | None) -> Iterator[_Query]:
    chosen = (stack.tenant_label, TENANT)
    if threshold is not None and threshold.indicator == "health_score":
        parts = names.component_series(stack, "point")
        yield _Query("The score", series(names.health_series(stack), chosen))
        yield _Query("Its components; the lowest one is to blame", f"sort({series(parts, chosen)})")
    elif threshold is not None:
        yield from _indicator_queries(stack, stack.indicator(threshold.indicator), chosen)
    elif alert == names.SLO_ALERT:
        yield _Query("Budget left, 1 is all of it", series(names.SLO_BUDGET_REMAINING, chosen))
        yield _Query(
            "Burn rate of the last 5 minutes, 1 is what the budget allows", series(names.burn_rate(300), chosen)
        )
        yield _Query("The five tenants that burn fastest", f"topk(5, {names.burn_rate(3600)})")
        yield _Query(
            "Is it only this one? Budget left over all tenants", names.rolled_up(names.SLO_BUDGET_REMAINING, "slo")
        )
    elif alert.startswith("CostBudget"):
        tiles = series(names.cost_tile_series(stack), chosen)
        yield _Query("Estimated USD in 30 days", series(names.cost_estimate_series(stack), chosen))
        yield _Query("USD of the last week, by resource", f"sort_desc(sum by (resource) (sum_over_time({tiles}[7d])))")
    elif alert == "TenantsUnlisted":
        total = names.SLO_TOTAL_RATE if stack.slos else names.TENANT_INFO
        yield _Query("The tenants", f"{total} unless on ({stack.tenant_label}) {names.TENANT_INFO}")


def _indicator_queries(stack: Stack, indicator: Indicator, chosen: tuple[str, str]) -> Iterator[_Query]:
    value = names.indicator_series(stack, indicator)
    total = names.events_series(stack, indicator, "total", indicator.over_seconds)
    worst = "bottomk" if indicator.higher_is_better else "topk"
    yield _Query("The value for this tenant", series(value, chosen))
    yield _Query("Is it only this one? The value over all tenants", names.all_tenants(value))
    yield _Query("The five worst tenants", f"{worst}(5, {value})")
    yield _Query(f"Events of this tenant in the last {duration(indicator.over_seconds)}", series(total, chosen))


def _silence(stack: Stack, site: Site, alert: Alert) -> str:
    who = f" {stack.tenant_label}={TENANT}" if alert.on else ""
    return (
        f"amtool --alertmanager.url={site.alertmanager_url} silence add "
        f'alertname={alert.alert}{who} --duration=1h --author="$USER" --comment="why"'
    )
