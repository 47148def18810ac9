"""What the rules of an SLO cost, read off the rules themselves: series, samples that are scanned, bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

from reliary.artifacts import Labels, Recording, RuleFile, Site
from reliary.model import Slo, Stack
from reliary.names import rule_file as path_of
from reliary.recording import facts_file
from reliary.rulefile import rule_file
from reliary.slo.budgets import budget_file, calendar_file
from reliary.slo.rules import slo_files

ROUND_SECONDS = 30
_PER_TENANT = "tenant_slo:"


@dataclass(frozen=True, slots=True)
class Cost:
    """Samples and series are those of all listed tenants, with one series a tenant where a selector is scraped.

    `samples_at_once` is every rule evaluated once; `samples_per_30s` counts each group as often as it runs.
    `shared_rules` serve all SLOs of the stack together.
    """

    rules: int
    groups: int
    shared_rules: int
    tenants: int
    series_per_tenant: int
    series: int
    samples_at_once: int
    samples_per_30s: int
    scraped_samples_per_30s: int
    rule_file_bytes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """A selector of an expression: `points` times it is evaluated, each over `range_seconds` (0: one sample)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    range_seconds: int
    points: int


def cost(stack: Stack, slo: Slo) -> Cost:
    """What one class costs in this stack."""
    file = next(file for file in slo_files(stack, Site()) if file.path == path_of(f"slo-{slo.name}"))
    shared = [found for found in (facts_file(stack), calendar_file(stack), budget_file(stack)) if found]
    known = _Recorded(stack, (file, *shared))
    once, per_round, scraped = 0.0, 0.0, 0.0
    for group in file.groups:
        for selection in (found for rule in group.rules for found in selections(rule.expr)):
            samples, recorded = known.samples(selection)
            once += samples
            per_round += samples * ROUND_SECONDS / group.interval_seconds
            scraped += 0 if recorded else samples * ROUND_SECONDS / group.interval_seconds
    rules = [rule for group in file.groups for rule in group.rules]
    per_tenant = len({rule.record for rule in rules if isinstance(rule, Recording)})
    return Cost(
        rules=len(rules),
        groups=len(file.groups),
        shared_rules=sum(len(group.rules) for other in shared[1:] for group in other.groups),
        tenants=len(stack.tenants),
        series_per_tenant=per_tenant,
        series=per_tenant * len(stack.tenants),
        samples_at_once=round(once),
        samples_per_30s=round(per_round),
        scraped_samples_per_30s=round(scraped),
        rule_file_bytes=len(rule_file(file).text.encode()),
    )


def selections(expr: str) -> Iterator[Selection]:
    """Every selector of an expression that parses, as often as it stands there."""
    yield from _selections(promql_parser.parse(expr), 1)


def _selections(node: Any, points: int) -> Iterator[Selection]:
    kind = type(node).__name__
    if kind == "MatrixSelector":
        yield _selection(node.vector_selector, int(node.range.total_seconds()), points)
    elif kind == "VectorSelector":
        yield _selection(node, 0, points)
    elif kind == "SubqueryExpr":
        step = node.step.total_seconds() if node.step else 60
        yield from _selections(node.expr, points * max(1, int(node.range.total_seconds() / step)))
    else:
        for child in (getattr(node, part, None) for part in ("lhs", "rhs", "expr", "args")):
            for each in child if isinstance(child, list) else [child]:
                if each is not None:
                    yield from _selections(each, points)


def _selection(node: Any, range_seconds: int, points: int) -> Selection:
    found = node.matchers.matchers
    matchers = tuple((each.name, str(each.op), each.value) for each in found)
    return Selection(str(node.name or ""), matchers, range_seconds, points)


class _Recorded:
    """Recorded series by name: how far apart their samples are, and how many series a selection finds."""

    def __init__(self, stack: Stack, files: tuple[RuleFile, ...]) -> None:
        self._scrape, self._tenants = stack.scrape_interval_seconds, len(stack.tenants)
        self._interval: dict[str, int] = {}
        self._labels: dict[str, list[Labels]] = {}
        for group in (group for file in files for group in file.groups):
            for rule in group.rules:
                if isinstance(rule, Recording):
                    self._interval[rule.record] = group.interval_seconds
                    self._labels.setdefault(rule.record, []).append(rule.labels)

    def samples(self, selection: Selection) -> tuple[float, bool]:
        """Samples that a selection reads in all, and whether they are of a recorded series."""
        recorded = selection.name in self._interval
        apart = self._interval.get(selection.name, self._scrape)
        each = max(1.0, selection.range_seconds / apart)
        return each * selection.points * self._series(selection), recorded

    def _series(self, selection: Selection) -> int:
        if selection.name not in self._labels or selection.name.startswith(_PER_TENANT):
            return self._tenants
        return sum(_matches(dict(labels), selection) for labels in self._labels[selection.name])


def _matches(labels: dict[str, str], selection: Selection) -> bool:
    return all(_agrees(labels.get(name, ""), op, value) for name, op, value in selection.matchers)


def _agrees(label: str, op: str, value: str) -> bool:
    if op.endswith("Re"):
        return (re.fullmatch(value, label) is None) == op.endswith("NotRe")
    return (label == value) == op.endswith(".Equal")
