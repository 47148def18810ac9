"""A group of rules -> smaller groups that give the same values.

The rules of a group run one after the other at one instant; groups run at any time of their own. So rules of which
one reads what the other has just written stay together. A rule that only looks back over many evaluations may go:
the newest of them is missing for it at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from reliary.artifacts import Alert, Recording, RuleGroup
from reliary.dependencies import Writers, reads

Weight: TypeAlias = Callable[[Recording | Alert], int]

LATE_EVALUATIONS = 10
"""A rule that reads at least so many evaluations at once may read the newest one an interval later."""


def split(group: RuleGroup, limit: int, weight: Weight = lambda rule: 1) -> tuple[RuleGroup, ...]:
    """The group in parts whose rules together weigh no more than `limit`; the second is called `name-2`.

    Rules that have to stay together are one part even when they weigh more: the caller has to look.
    """
    parts: list[list[int]] = []
    room = -1
    for bundle in _bundles(group) if sum(map(weight, group.rules)) > limit else [list(range(len(group.rules)))]:
        needed = sum(weight(group.rules[place]) for place in bundle)
        if needed > room:
            parts, room = [*parts, []], limit
        parts[-1] += bundle
        room -= needed
    return tuple(
        replace(
            group,
            name=group.name if number == 1 else f"{group.name}-{number}",
            rules=tuple(group.rules[place] for place in sorted(part)),
        )
        for number, part in enumerate(parts, 1)
    )


def _bundles(group: RuleGroup) -> list[list[int]]:
    """Places of rules that belong together, in the order of their first rule."""
    leader = list(range(len(group.rules)))

    def first(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for place, other in _ties(group):
        low, high = sorted((first(place), first(other)))
        leader[high] = low
    bundles: dict[int, list[int]] = {}
    for place in range(len(group.rules)):
        bundles.setdefault(first(place), []).append(place)
    return list(bundles.values())


def _ties(group: RuleGroup) -> Iterator[tuple[int, int]]:
    """Pairs of rules that need each other's newest value: one reads what the other writes."""
    writers = Writers(group.rules)
    for place, rule in enumerate(group.rules):
        for read in reads(rule.expr):
            if read.back_seconds < LATE_EVALUATIONS * group.interval_seconds:
                yield from ((place, other) for other in writers.of(read))


def packed(weights: Sequence[int], limit: int) -> tuple[slice, ...]:
    """Slices of a list whose items together weigh no more than `limit`; an item that weighs more is alone."""
    cuts, room = [0], limit
    for place, needed in enumerate(weights):
        if needed > room and place > cuts[-1]:
            cuts.append(place)
            room = limit
        room -= needed
    return tuple(slice(low, high) for low, high in pairwise([*cuts, len(weights)]))
