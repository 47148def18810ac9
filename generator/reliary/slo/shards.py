"""An SLO class in several parts that are evaluated side by side, each for some of the tenants.

Tenants are told apart by the last character of their id, so that nothing has to be relabelled at the scrape and no
recorded series carries a number: when the number of shards changes, a month of history stays what it was. The
characters are dealt out so that the listed tenants spread evenly; whoever is not listed is in one shard as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from reliary import names, promql
from reliary.artifacts import Alert, Recording, RuleFile, RuleGroup
from reliary.guards import Guard
from reliary.model import Latency, Probe, Ratio, Selector, Slo, Source, Stack


def count(stack: Stack, slo: Slo) -> int:
    """In how many parts a class is evaluated; one where a query of the user's own cannot be cut."""
    return 1 if narrowed(slo.source, "") is None else stack.shards


def matchers(stack: Stack) -> tuple[str, ...]:
    """A matcher on the tenant label for each shard; every id fits exactly one."""
    *own, _ = _dealt(stack)
    patterns = [f".*[{_class(characters)}]" if characters else "" for characters in own]
    taken = _class([character for characters in own for character in characters])
    last = f"{stack.tenant_label}!~{promql.quoted(f'.*[{taken}]' if taken else '')}"
    return (*(f"{stack.tenant_label}=~{promql.quoted(pattern)}" for pattern in patterns), last)


def evenness(stack: Stack) -> float:
    """The listed tenants of the largest shard against the mean: 1 is even."""
    endings = _endings(stack)
    largest = max(sum(endings[character] for character in characters) for characters in _dealt(stack))
    return largest * stack.shards / endings.total() if endings else 1.0


def _dealt(stack: Stack) -> list[list[str]]:
    """The last characters of ids by shard: the most frequent first, each to the shard with the fewest tenants."""
    bins: list[list[str]] = [[] for _ in range(stack.shards)]
    sizes = [0] * stack.shards
    for character, tenants in sorted(_endings(stack).items(), key=lambda each: (-each[1], each[0])):
        least = sizes.index(min(sizes))
        bins[least].append(character)
        sizes[least] += tenants
    return bins


def _endings(stack: Stack) -> Counter[str]:
    return Counter(tenant.id[-1] for tenant in stack.tenants)


def _class(characters: list[str]) -> str:
    return "".join(map(re.escape, sorted(characters)))


def narrowed(source: Source, matcher: str) -> Source | None:
    """A source that sees the tenants of one shard; None for one that is a query."""

    def cut(events: Selector) -> Selector:
        return Selector(promql.with_matcher(events.text, matcher) if matcher else events.text)

    if isinstance(source, Ratio):
        if not isinstance(source.counted, Selector) or not isinstance(source.total, Selector):
            return None
        return replace(source, counted=cut(source.counted), total=cut(source.total))
    if isinstance(source, Latency):
        return replace(source, histogram=cut(source.histogram))
    return replace(source, gauge=cut(source.gauge)) if isinstance(source, Probe) else None


def part(file: RuleFile, slo: Slo, number: int, matcher: str) -> RuleFile:
    """The rules of a class for one shard: its recorded series are read for these tenants only."""
    own = re.compile(rf"(tenant_slo[\w:]*\{{{names.SLO_LABEL}={re.escape(promql.quoted(slo.name))})")

    def only(text: str) -> str:
        return own.sub(lambda found: f"{found[1]},{matcher}", text)

    groups = tuple(
        RuleGroup(f"{group.name}-{number}", group.interval_seconds, tuple(_only(rule, only) for rule in group.rules))
        for group in file.groups
    )
    return RuleFile(names.rule_file(f"slo-{slo.name}-{number}"), f"{file.about}, shard {number}", groups)


def _only(rule: Recording | Alert, only: Callable[[str], str]) -> Recording | Alert:
    if isinstance(rule, Recording):
        return replace(rule, expr=only(rule.expr))
    return replace(rule, condition=only(rule.condition), guard=_guard(rule.guard, only))


def _guard(guard: Guard, only: Callable[[str], str]) -> Guard:
    texts = {each.name: getattr(guard, each.name) for each in fields(guard)}
    changed: Any = {name: only(text) for name, text in texts.items() if isinstance(text, str)}
    return replace(guard, **changed)
