"""One page for each alert: what it means, who is called, what to do first, what to look at, how to silence it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from reliary import names
from reliary.artifacts import Alert, File, RuleFile, Site
from reliary.assets import asset
from reliary.guards import Bound, Guard, History, Margin, NotTraffic
from reliary.model import Indicator, Stack, Threshold
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
class _Facts:
    name: str
    summary: str
    severity: str
    receiver: str
    within: str
    when: str
    for_: str
    guard: str
    expr: str


def runbook_files(stack: Stack, site: Site, rules: tuple[RuleFile, ...]) -> tuple[File, ...]:
    """`runbooks/<alert>.md` for each alert name, in the order of the rules. Burn tiers share a page."""
    first: dict[str, Alert] = {}
    for file in rules:
        for group in file.groups:
            for rule in group.rules:
                if isinstance(rule, Alert):
                    first.setdefault(rule.alert, rule)
    return tuple(File(names.runbook(name), _page(stack, site, alert)) for name, alert in first.items())


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["md"] = markdown
    return environment.from_string(asset("rules", "runbook.md.j2").read_text(encoding="utf-8"))


def markdown(text: str) -> str:
    """Text that a user wrote, as plain words in Markdown and in the HTML that a viewer makes of it."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
    return "".join(entities.get(char, f"\\{char}" if char in "\\`*_{}[]#!" else char) for char in text)


def _page(stack: Stack, site: Site, alert: Alert) -> str:
    threshold = next((row for row in stack.thresholds if row.alert == alert.alert), None)
    return _template().render(
        alert=_facts(stack, alert, threshold),
        steps=[markdown(step) for step in threshold.first_steps] if threshold else (),
        queries=_queries(stack, threshold),
        silence=_silence(stack, site, alert),
    )


def _facts(stack: Stack, alert: Alert, threshold: Threshold | None) -> _Facts:
    labels = dict(alert.labels)
    route = route_of(stack, labels | {"alertname": alert.alert} | _someone(stack, threshold))
    summary = threshold.summary if threshold else _plain(dict(alert.annotations)["summary"])
    return _Facts(
        name=alert.alert,
        summary=markdown(summary),
        severity=labels["severity"],
        receiver=route.to if route else NOBODY,
        within=duration(route.respond_within_seconds) if route and route.respond_within_seconds else "",
        when=markdown(_when(threshold)) if threshold else "the rule below gives a result",
        for_=duration(alert.for_seconds) if alert.for_seconds else "",
        guard=_guard(alert.guard),
        expr=alert.expr,
    )


def _someone(stack: Stack, threshold: Threshold | None) -> dict[str, str]:
    """A tenant that the alert can be about, for the question who is called."""
    if threshold and threshold.scope == "vip":
        return {stack.tenant_label: stack.vips[0].id}
    return {}


def _plain(template: str) -> str:
    return template.replace("{{ $labels.", "").replace("{{ $value", "").replace(" }}", "")


def _when(threshold: Threshold) -> str:
    who = "a VIP tenant" if threshold.scope == "vip" else "a tenant"
    return f"{threshold.indicator} of {who} {threshold.direction} {number(threshold.limit)}"


def _guard(guard: Guard) -> str:
    match guard:
        case Margin():
            return "the bad events exceed the limit by a 95 % margin, so a few requests cannot fire it"
        case Bound():
            return "the score is past the limit even with the benefit of the doubt (95 %) for each component"
        case History():
            return "at least one day of cost was recorded"
        case NotTraffic(reason):
            return f"none is needed: it {reason}"


def _queries(stack: Stack, threshold: Threshold | None) -> list[_Query]:
    if threshold is None:
        return []
    chosen = (stack.tenant_label, TENANT)
    if threshold.indicator == "health_score":
        parts = names.component_series(stack, "point")
        return [
            _Query("The score", series(names.health_series(stack), chosen)),
            _Query("Its components; the lowest one is to blame", f"sort({series(parts, chosen)})"),
        ]
    return _indicator_queries(stack, stack.indicator(threshold.indicator), chosen)


def _indicator_queries(stack: Stack, indicator: Indicator, chosen: tuple[str, str]) -> list[_Query]:
    value = names.indicator_series(stack, indicator)
    total = names.events_series(stack, indicator, "total", indicator.over_seconds)
    ranked = f"topk(5, {value})" if indicator.source.part == "bad" else f"bottomk(5, {value})"
    return [
        _Query("The value for this tenant", series(value, chosen)),
        _Query("Over all tenants: is it only this one?", names.all_tenants(value)),
        _Query("The five worst tenants", ranked),
        _Query(f"Events of this tenant in the last {duration(indicator.over_seconds)}", series(total, chosen)),
    ]


def _silence(stack: Stack, site: Site, alert: Alert) -> str:
    who = f" {stack.tenant_label}={TENANT}" if alert.on else ""
    return (
        f"amtool --alertmanager.url={site.alertmanager_url} silence add "
        f'alertname={alert.alert}{who} --duration=1h --author="$USER" --comment="why"'
    )
