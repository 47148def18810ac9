"""Alerts on a limit, and the health score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, cast

from reliary.definitions.root import HEALTH, Names, Root
from reliary.definitions.shapes import Fields
from reliary.model import Component, HealthScore, Scope, Severity, Threshold
from reliary.names import RESERVED_ALERTS
from reliary.problems import Place


def thresholds(root: Root) -> tuple[Threshold, ...]:
    """The alerts that could be read."""
    names = root.names("indicators")
    with_health = {HEALTH} if root.fields.has(HEALTH) else set()
    known = None if names is None else names | with_health
    tops = _tops(root)
    found = (_threshold(root, known, tops, *record) for record in root.records("thresholds"))
    return tuple(threshold for threshold in found if threshold is not None)


def _tops(root: Root) -> dict[str, int]:
    """The highest value of each indicator that could be read, and of the health score."""
    rows = root.records("indicators")
    return {HEALTH: 100} | {name: 100 if row.maybe("as", str) == "percent" else 1 for name, _, row in rows}


def _threshold(
    root: Root, known: Names, tops: Mapping[str, int], name: str, place: Place, row: Fields
) -> Threshold | None:
    match = re.fullmatch(r"([a-z0-9_]+) *([<>]) *([0-9.]+)", row.get("when", str))
    assert match is not None
    subject, direction, limit = match.group(1), match.group(2), Decimal(match.group(3))
    if name in RESERVED_ALERTS:
        message = f"the stack has an alert of its own that is called {name}."
        root.faults.add("B117", place, message, "Choose another name.")
    if not root.known(subject, known, "indicator", row.at("when")):
        return None
    _limit(root, subject, tops.get(subject), limit, row.at("when"))
    return Threshold(
        name,
        subject,
        cast(Literal["<", ">"], direction),
        limit,
        row.get("for", int),
        cast(Severity, row.get("severity", str)),
        scope(root, row),
        row.get("summary", str),
        tuple(item.value for item in row.items("first_steps", str)),
    )


def scope(root: Root, row: Fields) -> Scope:
    """`all` or `vip`; the latter is refused where no tenant is a VIP."""
    chosen = row.maybe("tenants", str) or "all"
    if chosen == "vip" and root.fields.has("tenants") and root.readable("tenants") and not root.any_vip:
        message = "no tenant is a VIP, so this can never apply."
        root.faults.add("B116", row.at("tenants"), message, "Set `vip: true` on a tenant, or remove `tenants: vip`.")
    return cast(Scope, chosen)


def _limit(root: Root, subject: str, top: int | None, limit: Decimal, at: Place) -> None:
    if top is not None and not 0 < limit < top:
        message = f"`{subject}` lies between 0 and {top}, so {limit} is no limit for it."
        share = top == 1 and 1 < limit < 100
        advice = f"Write {limit / 100}, or give the indicator `as: percent`." if share else "Choose a limit in between."
        root.faults.add("B113", at, message, advice)


# -- health


def health_score(root: Root) -> HealthScore | None:
    """The score, None when the definitions have none or it could not be read."""
    row = root.fields.maybe(HEALTH, Fields)
    if row is None or not row.whole:
        return None
    tops, known = _tops(root), root.names("indicators")
    components = tuple(_component(root, known, tops, name, part) for name, _, part in root.records("components", row))
    weights = sum(component.weight for component in components)
    if weights != 100:
        advice = f"{'Add' if weights < 100 else 'Take off'} {abs(100 - weights)} altogether."
        root.faults.add("B124", row.at("components"), f"the weights give {weights}, not 100.", advice)
    over = row.get("over", int)
    root.long_enough(over, row.at("over"))
    root.retained(over, row.at("over"))
    floor = row.maybe("floor", Fields)
    below = floor.get("below", Decimal) if floor else Decimal(20)
    ceiling = floor.get("ceiling", Decimal) if floor else Decimal(59)
    return HealthScore(row.get("profile", str), over, components, below, ceiling)


def _component(root: Root, known: Names, tops: Mapping[str, int], name: str, row: Fields) -> Component:
    indicator, zero, full = row.get("indicator", str), row.get("zero", Decimal), row.get("full", Decimal)
    if root.known(indicator, known, "indicator", row.at("indicator")) and indicator in tops:
        for key, value in (("zero", zero), ("full", full)):
            _possible(root, indicator, tops[indicator], key, value, row.at(key))
    if zero == full:
        message = "`zero` and `full` are the same value."
        root.faults.add("B113", row.at("full"), message, "Say which value scores 100.")
    return Component(name, indicator, int(row.get("weight", Decimal)), zero, full)


def _possible(root: Root, indicator: str, top: int, key: str, value: Decimal, at: Place) -> None:
    if value > top:
        message = f"`{indicator}` lies between 0 and {top}: it never has the value {value} that `{key}` names."
        advice = f"Choose a value from 0 to {top}." if top == 100 else "Write a share from 0 to 1, such as 0.5."
        root.faults.add("B113", at, message, advice)
