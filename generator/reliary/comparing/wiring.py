"""What changed in how a stack is wired: who gets which alert, indicators, thresholds, prices, boards, intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TypeAlias

from reliary import alerting
from reliary.artifacts import Alert, RuleFile, Site
from reliary.comparing.changes import Change, Word, differs, listing, longer, paired, rising, same_query, shown
from reliary.model import (
    Board,
    Channel,
    Component,
    Email,
    HealthScore,
    Indicator,
    PagerDuty,
    Panel,
    Price,
    Receiver,
    Route,
    Service,
    Slack,
    Stack,
    Tenant,
    Threshold,
    Webhook,
)
from reliary.names import duration
from reliary.promql import number
from reliary.routes import route_of
from reliary.slo.rules import slo_files

_LOUDNESS = ("general", "warning", "ticket", "critical", "page")
_VIP = Tenant("vip", "vip", "", True, (), None)
_WHO = {"VIPs": "vip", "others": "other"}

Key: TypeAlias = tuple[str, str, str]


# -- indicators and their alerts


def _indicators(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.name: each for each in stack.indicators} for stack in (old, new))

    def compared(name: str, one: Indicator, other: Indicator) -> Iterator[Change]:
        if not _same_ratio(one, other):
            effect = "what was recorded was counted differently"
            yield Change("source", f"indicator {name}", _counted(one), _counted(other), "changed", effect)
        anew = "it is recorded under another name: its history starts anew"
        yield from longer("indicator", f"{name}: over", one.over_seconds, other.over_seconds, effect=anew)
        scaled = "its history is on the other scale"
        yield from differs("indicator", f"{name}: percent", one.percent, other.percent, effect=scaled)

    yield from paired("indicator", before, after, _counted, compared)


def _same_ratio(one: Indicator, other: Indicator) -> bool:
    ours, theirs = one.source, other.source
    kinds = [(type(each.counted), type(each.total), each.part) for each in (ours, theirs)]
    same = same_query(ours.counted.text, theirs.counted.text) and same_query(ours.total.text, theirs.total.text)
    return kinds[0] == kinds[1] and same


def _counted(indicator: Indicator) -> str:
    source = indicator.source
    return " ".join(f"{source.part}: {source.counted.text} of {source.total.text}".split())


def _thresholds(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.alert: each for each in stack.thresholds} for stack in (old, new))
    yield from paired("threshold", before, after, _condition, _threshold, ("louder", "quieter"))


def _condition(threshold: Threshold) -> str:
    limit = f"{threshold.indicator} {threshold.direction} {number(threshold.limit)}"
    whom = " for VIPs" if threshold.scope == "vip" else ""
    return f"{threshold.severity}{whom} when {limit} for {duration(threshold.for_seconds)}"


def _threshold(name: str, old: Threshold, new: Threshold) -> Iterator[Change]:
    limits = [(each.indicator, each.direction, each.limit) for each in (old, new)]
    if limits[0] != limits[1]:
        was, now = (f"{indicator} {direction} {number(limit)}" for indicator, direction, limit in limits)
        yield Change("threshold", f"{name}: limit", was, now, _limit_word(old, new))
    yield from longer("threshold", f"{name}: for", old.for_seconds, new.for_seconds, ("quieter", "louder"))
    word = rising(_LOUDNESS.index(old.severity), _LOUDNESS.index(new.severity), "louder", "quieter")
    yield from differs("threshold", f"{name}: severity", old.severity, new.severity, word)
    word = "louder" if new.scope == "all" else "quieter"
    yield from differs("threshold", f"{name}: tenants", old.scope, new.scope, word)


def _limit_word(old: Threshold, new: Threshold) -> Word:
    if (old.indicator, old.direction) != (new.indicator, new.direction):
        return "changed"
    lower, higher = (new.limit, old.limit) if new.direction == "<" else (old.limit, new.limit)
    return rising(lower, higher, "quieter", "louder")


def _health(old: Stack, new: Stack) -> Iterator[Change]:
    if old.health is None or new.health is None:
        yield from differs("health", "score", _profile(old.health), _profile(new.health), _came(old, new))
        return
    before, after = old.health, new.health
    yield from differs("health", "profile", before.profile, after.profile)
    effect = "it is recorded under another name: its history starts anew"
    yield from longer("health", "over", before.over_seconds, after.over_seconds, effect=effect)
    yield from differs("health", "floor", _floor(before), _floor(after))
    ours, theirs = ({each.name: each for each in score.components} for score in (before, after))
    yield from paired("health", ours, theirs, _component, _compared_components)


def _came(old: Stack, new: Stack) -> Word:
    return "removed" if new.health is None else "added"


def _profile(health: HealthScore | None) -> str | None:
    return None if health is None else health.profile


def _floor(health: HealthScore) -> str:
    return f"below {number(health.floor_below)}, at most {number(health.floor_ceiling)}"


def _component(part: Component) -> str:
    return f"{part.indicator}, weight {part.weight}, 0 at {number(part.zero)}, 100 at {number(part.full)}"


def _compared_components(name: str, old: Component, new: Component) -> Iterator[Change]:
    yield from differs("health", f"component {name}", _component(old), _component(new))


# -- prices


def _costs(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = (
        {price.resource: price for price in stack.costs.prices} if stack.costs else {} for stack in (old, new)
    )
    later = "what was recorded stays as it was priced"
    yield from paired("price", before, after, _price, _compared_prices, effects=(later, later))
    if (old.costs is None) != (new.costs is None):
        was, now = (None if stack.costs is None else "spend limits" for stack in (old, new))
        yield Change("budget", "all tenants", was, now, "added" if old.costs is None else "removed")


def _price(price: Price) -> str:
    return f"{number(price.usd)} USD for {number(price.per)} of {price.counter.text}"


def _compared_prices(name: str, old: Price, new: Price) -> Iterator[Change]:
    same = old.usd * new.per == new.usd * old.per and same_query(old.counter.text, new.counter.text)
    if not same:
        effect = "what was recorded stays as it was priced, and is in the estimate for a week"
        yield Change("price", name, _price(old), _price(new), "changed", effect)


# -- who gets what


def _routes(old: Stack, new: Stack) -> Iterator[Change]:
    """Who gets each kind of alert that either stack has, rather than which route is where in a list."""
    groups: dict[tuple[str, str, Word], dict[str, list[str]]] = {}
    for key in _kinds(old, new):
        before, after = _route(old, key), _route(new, key)
        said = _answer(old, before), _answer(new, after)
        if said[0] != said[1]:
            word = _route_word((old, before), (new, after))
            groups.setdefault((*said, word), {}).setdefault(f"{key[1]} {key[0]}", []).append(key[2])
    for (was, now, word), kinds in groups.items():
        yield Change("route", "; ".join(_whose(kind, whom) for kind, whom in kinds.items()), was, now, word)


def _whose(kind: str, whom: list[str]) -> str:
    return f"{kind} of {whom[0]}" if len(whom) == 1 and whom[0] else kind


def _kinds(old: Stack, new: Stack) -> Iterator[Key]:
    """Severity, kind and whose: of VIPs and of others where either stack has VIPs."""
    found = dict.fromkeys(pair for stack in (old, new) for pair in _labels(stack))
    told_apart = bool(old.vips or new.vips)
    for severity, kind in found:
        for whom in _WHO if told_apart and kind != "platform" else ("",):
            yield severity, kind, whom


def _labels(stack: Stack) -> Iterator[tuple[str, str]]:
    """Severity and kind of every alert but the watchdog."""
    site = Site()
    files = (*slo_files(stack, site), *_alert_files(stack, site))
    for rule in (rule for file in files for group in file.groups for rule in group.rules):
        if isinstance(rule, Alert) and {"severity", "kind"} <= (labels := dict(rule.labels)).keys():
            yield labels["severity"], labels["kind"]


def _alert_files(stack: Stack, site: Site) -> Iterator[RuleFile]:
    for build in (alerting.alert_file, alerting.cost_file, alerting.meta_file):
        if (file := build(stack, site)) is not None:
            yield file


def _route(stack: Stack, key: Key) -> Route:
    """The route of the stack as if it had one VIP."""
    labels = {"severity": key[0], "kind": key[1], stack.tenant_label: _WHO.get(key[2], "")}
    route = route_of(replace(stack, tenants=(_VIP,)), labels)
    assert route is not None  # only the watchdog has none
    return route


def _answer(stack: Stack, route: Route) -> str:
    within = route.respond_within_seconds
    return route.to + (f", answers within {duration(within)}" if within else "")


def _route_word(old: tuple[Stack, Route], new: tuple[Stack, Route]) -> Word:
    wakes = [_wakes(next(each for each in stack.receivers if each.name == route.to)) for stack, route in (old, new)]
    if wakes[0] != wakes[1]:
        return "louder" if wakes[1] else "quieter"
    before, after = old[1].respond_within_seconds, new[1].respond_within_seconds
    if old[1].to != new[1].to or before == after:
        return "changed"
    return "stricter" if before is None else "looser" if after is None else rising(before, after, "looser", "stricter")


def _wakes(receiver: Receiver) -> bool:
    return any(isinstance(channel, PagerDuty) for channel in receiver.channels)


def _receivers(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.name: each for each in stack.receivers} for stack in (old, new))
    yield from paired("receiver", before, after, _channels, _receiver)


def _receiver(name: str, old: Receiver, new: Receiver) -> Iterator[Change]:
    word: Word = "changed"
    if _wakes(old) != _wakes(new):
        word = "louder" if _wakes(new) else "quieter"
    yield from differs("receiver", name, _channels(old), _channels(new), word)


def _channels(receiver: Receiver) -> str:
    return listing(sorted(_channel(channel) for channel in receiver.channels))


def _channel(channel: Channel) -> str:
    """A channel with the name of its secret, never the secret."""
    match channel:
        case PagerDuty(key):
            return f"PagerDuty (key {key})"
        case Slack(name, url):
            return f"Slack {name} (URL {url})"
        case Email(to):
            return f"mail to {listing(sorted(to))}"
        case Webhook(url):
            return f"webhook {url}"


# -- boards, services and the stack itself


def _boards(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.uid: each for each in stack.boards} for stack in (old, new))
    yield from paired("board", before, after, lambda board: board.title, _board)


def _board(uid: str, old: Board, new: Board) -> Iterator[Change]:
    yield from differs("board", f"{uid}: title", old.title, new.title)
    ours, theirs = ({panel.title: panel for panel in board.panels} for board in (old, new))
    for change in paired("board", ours, theirs, _panel, _compared_panels):
        yield replace(change, what=f"{uid}: {change.what}")
    was, now = (tuple(title for title in side if title in ours and title in theirs) for side in (ours, theirs))
    yield from differs("board", f"{uid}: order of the panels", was, now)


def _compared_panels(title: str, old: Panel, new: Panel) -> Iterator[Change]:
    yield from differs("board", title, _panel(old), _panel(new))


def _panel(panel: Panel) -> str:
    return f"{panel.shows} as {panel.form}, levels {listing(number(level) for level in panel.levels)}"


def _services(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.name: each for each in stack.services} for stack in (old, new))

    def compared(name: str, one: Service, other: Service) -> Iterator[Change]:
        yield from differs("service", f"{name}: scrape", frozenset(one.targets), frozenset(other.targets))
        yield from differs("service", f"{name}: path", one.metrics_path, other.metrics_path)
        yield from differs("service", f"{name}: probe", frozenset(one.probes), frozenset(other.probes))

    yield from paired("service", before, after, lambda each: listing(sorted(each.targets)), compared)


def _stack(old: Stack, new: Stack) -> Iterator[Change]:
    anew = "recorded history stays under the old name: budgets start anew"
    yield from differs("stack", "tenant_label", old.tenant_label, new.tenant_label, effect=anew)
    moved = "indicators, health and cost are recorded under other names: their history starts anew"
    yield from differs("stack", "namespace", old.namespace, new.namespace, effect=moved)
    yield from differs(
        "stack", "name", old.name, new.name, effect="rule groups and the folder of the running stack change"
    )
    mixed = "sums recorded at the old pace are read at the new one: counts of events are off until windows have passed"
    yield from longer(
        "stack", "evaluation_interval", old.evaluation_interval_seconds, new.evaluation_interval_seconds, effect=mixed
    )
    yield from longer("stack", "scrape_interval", old.scrape_interval_seconds, new.scrape_interval_seconds)
    gone = "older samples are deleted" if new.retention_seconds < old.retention_seconds else ""
    yield from longer("stack", "retention", old.retention_seconds, new.retention_seconds, effect=gone)
    yield from differs("stack", "shards", old.shards, new.shards)
    yield from differs("stack", "pins", old.pins, new.pins, effect="other versions of the servers run")
    yield from differs("stack", "runbook_base_url", old.runbook_base_url, new.runbook_base_url)


def _mail(old: Stack, new: Stack) -> Iterator[Change]:
    yield from _records("mail", old.smtp, new.smtp)


def _demo(old: Stack, new: Stack) -> Iterator[Change]:
    yield from _records("demo", old.demo, new.demo)


def _records(kind: str, old: object, new: object) -> Iterator[Change]:
    """Field by field, where a record has no better words."""
    if old is None or new is None:
        yield from differs(kind, kind, old and "defined", new and "defined", "added" if old is None else "removed")
        return
    for field in fields(old):  # type: ignore[arg-type]
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(before, tuple):
            before, after = (frozenset(f"{name} {shown(value)}" for name, value in side) for side in (before, after))
        yield from differs(kind, field.name, before, after)


WIRING: tuple[Callable[[Stack, Stack], Iterator[Change]], ...] = (
    _indicators,
    _thresholds,
    _health,
    _costs,
    _routes,
    _receivers,
    _mail,
    _boards,
    _services,
    _demo,
    _stack,
)
