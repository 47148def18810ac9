"""Which series a rule reads, and which other rules record them: found in the expressions, not guessed from names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import promql_parser

from reliary.artifacts import Alert, Labels, Recording
from reliary.promql import quoted

ALERT_SERIES = ("ALERTS", "ALERTS_FOR_STATE")
"""What Prometheus itself records for each alert that is pending or firing."""


@dataclass(frozen=True, slots=True)
class Read:
    """Series that an expression asks for. `back_seconds` is how far it looks back, 0 for the value of the moment."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    back_seconds: int

    @property
    def selector(self) -> str:
        """The PromQL selector, without its range."""
        inside = ",".join(f"{label}{op}{quoted(value)}" for label, op, value in self.matchers)
        return f"{self.name}{{{inside}}}" if inside else self.name


_LONG_TEXT = re.compile(r'"(?:[^"\\]|\\.){10000,}"', re.DOTALL)


@lru_cache(maxsize=4096)
def reads(expr: str) -> tuple[Read, ...]:
    """Everything that a valid expression reads, each once, in the order of its first use."""
    try:
        tree = promql_parser.parse(expr)
    except ValueError:  # it compiles matchers, and those on thousands of tenants are too large for it
        tree = promql_parser.parse(_LONG_TEXT.sub('".*"', expr))
    return tuple(dict.fromkeys(_walk(tree, 0)))


def may_select(read: Read, rule: Recording | Alert) -> bool:
    """True when what a rule writes can be among the series that are read; labels that come from data may be any."""
    if isinstance(rule, Alert):
        return read.name in ALERT_SERIES and _agree(read, (*rule.labels, ("alertname", rule.alert)))
    return read.name in ("", rule.record) and _agree(read, rule.labels)


class Writers:
    """Some rules, by what they write."""

    def __init__(self, rules: Sequence[Recording | Alert]) -> None:
        self._rules = rules
        self._places: dict[str, list[int]] = {}
        self._found: dict[Read, frozenset[int]] = {}
        for place, rule in enumerate(rules):
            for name in ALERT_SERIES if isinstance(rule, Alert) else (rule.record,):
                self._places.setdefault(name, []).append(place)

    def of(self, read: Read) -> frozenset[int]:
        """The places of the rules whose output can be among the series that are read."""
        if read not in self._found:
            some = self._places.get(read.name, []) if read.name else range(len(self._rules))
            self._found[read] = frozenset(place for place in some if may_select(read, self._rules[place]))
        return self._found[read]


def constant(rule: Recording | Alert) -> bool:
    """True for a rule that reads no series at all, such as `vector(1)`."""
    return not reads(rule.expr)


def _agree(read: Read, labels: Labels) -> bool:
    known = dict(labels)
    return all(_matches(op, value, known[label]) for label, op, value in read.matchers if label in known)


def _matches(op: str, wanted: str, value: str) -> bool:
    if op in ("=", "!="):
        return (wanted == value) is (op == "=")
    try:
        found = re.fullmatch(wanted, value) is not None
    except re.error:  # RE2 knows some that Python does not: better a dependency too many
        return True
    return found is (op == "=~")


_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def _walk(node: Any, back: int) -> Iterator[Read]:
    match type(node).__name__:
        case "VectorSelector":
            yield from _selected(node, back)
        case "MatrixSelector":
            yield from _selected(node.vector_selector, back + _seconds(node.range))
        case "SubqueryExpr":
            yield from _walk(node.expr, back + _seconds(node.range) + _seconds(node.offset))
        case "ParenExpr" | "UnaryExpr":
            yield from _walk(node.expr, back)
        case "BinaryExpr":
            yield from _walk(node.lhs, back)
            yield from _walk(node.rhs, back)
        case "Call":
            for argument in node.args:
                yield from _walk(argument, back)
        case "AggregateExpr":
            yield from _walk(node.expr, back)
            if node.param is not None:
                yield from _walk(node.param, back)


def _selected(node: Any, back: int) -> Iterator[Read]:
    found = [(str(m.name), _OPERATORS[str(m.op).rpartition(".")[2]], str(m.value)) for m in node.matchers.matchers]
    named = next((value for label, op, value in found if label == "__name__" and op == "="), "")
    others = tuple(each for each in found if each[:2] != ("__name__", "="))
    yield Read(node.name or named, others, back + max(0, _seconds(node.offset)))


def _seconds(duration: Any) -> int:
    return int(duration.total_seconds()) if duration is not None else 0
