"""Objectives that differ in one label's value alone -> one class, with those values as tenants."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from reliary.definitions.schema import TENANT_ID
from reliary.importers.found import Found
from reliary.importers.promqltext import Unprovable
from reliary.importers.sources import Source
from reliary.names import RESERVED_LABELS

TENANT_LABEL = "tenant_id"
"""The label of the tenant unless something else is said or found."""

_USUAL = ("code", "status", "status_code", "method", "verb", "handler", "route", "path", "endpoint", "uri", "operation")
_GRPC = ("grpc_method", "grpc_service", "grpc_code", "grpc_type")
_PLACES = ("pod", "container", "node", "host", "env", "environment", "cluster", "region", "zone")
_OTHERS = ("__name__", "version", "quantile", "type", "resource", "stack", "burn", "alertstate")
_NEVER_A_TENANT = RESERVED_LABELS.union(_USUAL, _GRPC, _PLACES, _OTHERS)
"""Labels that are not taken for tenants unless the user names them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Objectives that become one class. `values` are those of the tenant label, none where it is not matched."""

    members: tuple[Found, ...]
    values: tuple[str, ...] = ()

    @property
    def default(self) -> Decimal:
        """The objective that most of them have; the highest of those that are as frequent."""
        counts = Counter(member.objective for member in self.members)
        return max(counts, key=lambda objective: (counts[objective], objective))

    @property
    def lowest(self) -> Decimal:
        return min(member.objective for member in self.members)

    @property
    def own_objectives(self) -> dict[str, Decimal]:
        """Objectives of tenants that differ from the default."""
        default, pairs = self.default, zip(self.values, self.members, strict=False)
        return {value: member.objective for value, member in pairs if member.objective != default}

    def source(self, label: str) -> Source:
        """What the class counts, for all tenants at once."""
        source = self.members[0].source
        return source.without(label) if self.values else source


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups in the order of their first members, the label of tenants, and what could have been merged."""

    label: str
    groups: tuple[Group, ...]
    offer: str = ""


def plan(found: Sequence[Found], told: str | None, merge: bool | None) -> Plan:
    """How objectives become classes. `told` is the label that the user named.

    `merge` None merges where the user named the label, or where all objectives differ in one label alone.
    """
    candidates = {label: _groups(found, label) for label in ([told] if told else _labels(found))}
    best = max(candidates, key=lambda label: (_covered(candidates[label]), label), default=None)
    covered = _covered(candidates[best]) if best else 0
    if best is None or merge is False or not _wanted(covered, len(found), told, merge):
        return Plan(told or TENANT_LABEL, tuple(Group((each,)) for each in found), _offer(best, covered, len(found)))
    return Plan(best, _in_order(found, [group for group in candidates[best] if _merges(group, told)]))


def _wanted(covered: int, total: int, told: str | None, merge: bool | None) -> bool:
    return bool(told) or (covered > 0 and (merge is True or covered == total))


def _merges(group: Group, told: str | None) -> bool:
    return len(group.members) > 1 or told is not None


def _covered(groups: Iterable[Group]) -> int:
    """How many objectives would share a class with another one."""
    return sum(len(group.members) for group in groups if len(group.members) > 1)


def _offer(label: str | None, covered: int, total: int) -> str:
    if label is None or not covered:
        return ""
    return (
        f"{covered} of {total} objectives differ only in the value of `{label}`. With --merge --tenant-label {label} "
        "they become classes with these values as tenants: one set of rules, and new tenants need none."
    )


def _labels(found: Iterable[Found]) -> list[str]:
    """Labels that could hold a tenant: each selector of some objective asks for one value of it."""
    labels = {
        matcher.label
        for each in found
        for counter in each.source.counters[:1]
        for matcher in counter.matchers
        if matcher.operator == "="
    }
    return sorted(labels - _NEVER_A_TENANT)


def _groups(found: Iterable[Found], label: str) -> list[Group]:
    """Objectives that are the same for any value of a label; none twice for one value."""
    alike: dict[str, list[tuple[str, Found]]] = defaultdict(list)
    seen: Counter[tuple[str, str]] = Counter()
    for each in found:
        value = value_of(each.source, label)
        kind = _kind(each, label) if value is not None else None
        if value is None or kind is None:
            continue
        alike[f"{seen[kind, value]} {kind}"].append((value, each))
        seen[kind, value] += 1
    return [Group(tuple(one for _, one in pairs), tuple(value for value, _ in pairs)) for pairs in alike.values()]


def value_of(source: Source, label: str) -> str | None:
    """The one value of a label that all selectors ask for, if it can be the id of a tenant."""
    values = {counter.value(label) for counter in source.counters}
    value = values.pop() if len(values) == 1 else None
    if value is None or not re.fullmatch(TENANT_ID.pattern, value) or len(value) > TENANT_ID.maximum:
        return None
    return value


def _kind(each: Found, label: str) -> str | None:
    """Everything but the value of the label, the objective and the names."""
    try:
        return repr((each.source.without(label).keys(label), each.window, each.alerts))
    except Unprovable:
        return None


def _in_order(found: Sequence[Found], groups: Iterable[Group]) -> tuple[Group, ...]:
    first = {id(group.members[0]): group for group in groups}
    taken = {id(member) for group in first.values() for member in group.members}
    return tuple(first.get(id(each)) or Group((each,)) for each in found if id(each) in first or id(each) not in taken)
