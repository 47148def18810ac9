"""Many rules that record one number each -> few that record many.

Rulers count rules, and a backfill asks for each rule by itself; what tenants are is one constant rule a tenant. The
series stay the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from reliary.artifacts import Alert, Labels, Recording
from reliary.names import SLO_LABEL
from reliary.promql import quoted

FOLDED = 100
"""Constants in one rule. Each `or` compares with all before it: more would cost more than they save."""

_CONSTANT = re.compile(r"vector\([0-9.]+\)")


def folded(rules: Sequence[Recording | Alert]) -> tuple[Recording | Alert, ...]:
    """The rules with neighbours that record constants of one name taken together, a hundred at a time."""
    return tuple(rule for _, run in groupby(rules, key=_kind) for rule in _fold(list(run)))


def _kind(rule: Recording | Alert) -> tuple[str, ...] | None:
    """Rules of one kind can be folded: the same series with the same names of labels, of one SLO."""
    if isinstance(rule, Alert) or not _CONSTANT.fullmatch(rule.expr):
        return None
    return (rule.record, dict(rule.labels).get(SLO_LABEL, ""), *(label for label, _ in rule.labels))


def _fold(run: list[Recording | Alert]) -> Iterator[Recording | Alert]:
    if len(run) == 1 or _kind(run[0]) is None:
        yield from run
        return
    constants = [rule for rule in run if isinstance(rule, Recording)]
    for start in range(0, len(constants), FOLDED):
        yield _one(constants[start : start + FOLDED])


def _one(rules: Sequence[Recording]) -> Recording:
    shared = set.intersection(*(set(rule.labels) for rule in rules))
    common = tuple(pair for pair in rules[0].labels if pair in shared)
    rows = [_labelled(rule.expr, tuple(pair for pair in rule.labels if pair not in shared)) for rule in rules]
    return Recording(rules[0].record, "\nor ".join(rows), common)


def _labelled(expr: str, labels: Labels) -> str:
    for label, value in labels:
        # In a replacement, $1 is a group; labels that are text have to say that they are not.
        expr = f'label_replace({expr}, {quoted(label)}, {quoted(value.replace("$", "$$"))}, "", "")'
    return expr
