"""What the rules of an SLO cost, read off the rules themselves: series, samples that are scanned, bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import promql_parser

from reliary import names
from reliary.artifacts import Alert, Labels, Recording, RuleFile, RuleGroup, Site
from reliary.model import Slo, Stack
from reliary.recording import FACTS_INTERVAL_SECONDS, facts_file
from reliary.rulefile import rule_file
from reliary.slo.budgets import budget_file, calendar_file
from reliary.slo.rules import slo_files

Matchers: TypeAlias = tuple[tuple[str, str, str], ...]

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
    rule_files: int
    rule_file_bytes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """A selector of an expression: `points` times it is evaluated, each over `range_seconds` (0: one sample)."""

    name: str
    matchers: Matchers
    range_seconds: int
    points: int


def cost(stack: Stack, slo: Slo) -> Cost:
    """What one class costs in this stack."""
    files = slo_files(replace(stack, slos=(slo,)), Site())
    shared = [found for found in (calendar_file(stack), budget_file(stack)) if found]
    groups = [group for file in files for group in file.groups]
    once, per_round, scraped = _samples(_Recorded(stack, (*files, facts_file(stack), *shared)), groups)
    per_tenant = len({rule.record for rule in _rules(groups) if isinstance(rule, Recording)})
    return Cost(
        rules=len(_rules(groups)),
        groups=len(groups),
        shared_rules=sum(len(_rules(list(other.groups))) for other in shared),
        tenants=len(stack.tenants),
        series_per_tenant=per_tenant,
        series=per_tenant * len(stack.tenants),
        samples_at_once=round(once),
        samples_per_30s=round(per_round),
        scraped_samples_per_30s=round(scraped),
        rule_files=len(files),
        rule_file_bytes=sum(len(rule_file(file).text.encode()) for file in files),
    )


def _rules(groups: list[RuleGroup]) -> list[Recording | Alert]:
    return [rule for group in groups for rule in group.rules]


def _samples(known: _Recorded, groups: list[RuleGroup]) -> tuple[float, float, float]:
    """Samples of all rules once, of a round, and those of a round that are of scraped series."""
    once, per_round, scraped = 0.0, 0.0, 0.0
    for group in groups:
        for selection in (found for rule in group.rules for found in selections(rule.expr, known.step_seconds)):
            samples, recorded = known.samples(selection)
            once += samples
            per_round += samples * ROUND_SECONDS / group.interval_seconds
            scraped += 0 if recorded else samples * ROUND_SECONDS / group.interval_seconds
    return once, per_round, scraped


def selections(expr: str, step_seconds: int = 60) -> Iterator[Selection]:
    """Every selector of an expression that parses, as often as it stands there; subqueries without a step take that."""
    yield from _selections(promql_parser.parse(expr), 1, step_seconds)


def _selections(node: Any, points: int, default_seconds: int) -> Iterator[Selection]:
    kind = type(node).__name__
    if kind == "MatrixSelector":
        yield _selection(node.vector_selector, int(node.range.total_seconds()), points)
    elif kind == "VectorSelector":
        yield _selection(node, 0, points)
    elif kind == "SubqueryExpr":
        step = node.step.total_seconds() if node.step else default_seconds
        yield from _selections(node.expr, points * max(1, int(node.range.total_seconds() / step)), default_seconds)
    else:
        for child in (getattr(node, part, None) for part in ("lhs", "rhs", "expr", "args")):
            for each in child if isinstance(child, list) else [child]:
                if each is not None:
                    yield from _selections(each, points, default_seconds)


def _selection(node: Any, range_seconds: int, points: int) -> Selection:
    found = node.matchers.matchers
    matchers = tuple((each.name, str(each.op), each.value) for each in found)
    return Selection(str(node.name or ""), matchers, range_seconds, points)


class _Recorded:
    """Recorded series by name: how far apart their samples are, and how many series a selection finds."""

    def __init__(self, stack: Stack, files: tuple[RuleFile, ...]) -> None:
        self.step_seconds = stack.evaluation_interval_seconds
        self._scrape, self._label = stack.scrape_interval_seconds, stack.tenant_label
        self._tenants = [tenant.id for tenant in stack.tenants]
        # Facts that nobody has are no series, and not scraped ones either.
        self._interval = dict.fromkeys((names.TENANT_INFO, names.OBJECTIVE), FACTS_INTERVAL_SECONDS)
        self._labels: dict[str, list[Labels]] = {name: [] for name in self._interval}
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
            asked = tuple(matcher for matcher in selection.matchers if matcher[0] == self._label)
            return sum(_fits({self._label: tenant}, asked) for tenant in self._tenants) if asked else len(self._tenants)
        return sum(_fits(dict(labels), selection.matchers) for labels in self._labels[selection.name])


def _fits(labels: dict[str, str], matchers: Matchers) -> bool:
    return all(_agrees(labels.get(name, ""), op, value) for name, op, value in matchers)


def _agrees(label: str, op: str, value: str) -> bool:
    if not op.endswith("Re"):
        return (label == value) == op.endswith(".Equal")
    try:
        return (re.fullmatch(value, label) is None) == op.endswith("NotRe")
    except re.error:  # what Prometheus reads and Python does not; too many samples are better than too few
        return True
