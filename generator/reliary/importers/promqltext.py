"""PromQL as text again: the parser gives a tree, and its own printer neither quotes nor keeps subqueries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import promql_parser

from reliary.names import duration
from reliary.promql import WINDOW, number, quoted

WINDOW_SECONDS = 1_234_567
"""Stands for the window while a query is parsed; nobody writes 14d6h56m7s."""

MAX_CHARACTERS = 2000
"""What a definition may have. A longer query could not be written into one."""

MAX_DEPTH = 100

_TEMPLATE = re.compile(r"\{\{-?\s*\$?\.window\s*-?\}\}")


_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


class Unprovable(Exception):
    """A query of which it cannot be proven that it means the same here. Has a sentence and a next step."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One matcher of a selector; `operator` is =, !=, =~ or !~."""

    label: str
    operator: str
    value: str

    @property
    def text(self) -> str:
        return f"{self.label}{self.operator}{quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class Counter:
    """A selector: a series' name with matchers, in the order in which they are written."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    @property
    def text(self) -> str:
        """The selector, ready for a query."""
        inside = ",".join(matcher.text for matcher in self.matchers)
        return f"{self.name}{{{inside}}}" if inside or not self.name else self.name

    def value(self, label: str) -> str | None:
        """The one value that a label must have, None when any will do or several may."""
        values = {matcher.value for matcher in self.matchers if matcher.label == label and matcher.operator == "="}
        return values.pop() if len(values) == 1 else None

    def without(self, label: str) -> Counter:
        """The same selector for any value of a label."""
        return Counter(self.name, tuple(matcher for matcher in self.matchers if matcher.label != label))

    def alike(self, other: Counter) -> bool:
        """True when both have the same matchers, whatever their names."""
        return sorted(self.matchers) == sorted(other.matchers)


def parsed(text: str) -> Any:
    """The tree of a query, its `{{.window}}` a range of `WINDOW_SECONDS`. Raises `Unprovable`."""
    if len(text) > MAX_CHARACTERS:
        message = f"the query has {len(text):,} characters; a definition may have {MAX_CHARACTERS:,}"
        raise Unprovable(message, "Record a part of it with a rule of its own, and use that.")
    plain = _TEMPLATE.sub(f"{WINDOW_SECONDS}s", text)
    if "{{" in plain:
        action = plain[plain.index("{{") :].split("}}")[0] + "}}"
        message = f"the template action `{action[:60]}` is not `{{{{.window}}}}`"
        raise Unprovable(message, "Write out what it stands for.")
    if WINDOW in plain:
        raise Unprovable(f"`{WINDOW}` in the query would be taken for the window here", "Write it in another way.")
    if re.search(r"\[\s*\$", plain):
        message = "a range of the query is a variable of a dashboard"
        raise Unprovable(message, "Write a range such as [5m] in its place.")
    try:
        tree = promql_parser.parse(plain)
    except ValueError as error:
        raise Unprovable(f"not valid PromQL: {error}", "Try the query in Prometheus first.") from None
    except RecursionError:
        tree = None
    if tree is None or _too_deep(tree):
        raise Unprovable("the query is nested too deep to be followed", "Record a part of it first.")
    return tree


def uses_window(text: str) -> bool:
    """True when a query has `{{.window}}` somewhere."""
    return _TEMPLATE.search(text) is not None


def counter(node: Any) -> Counter:
    """A selector of the tree. Raises `Unprovable` where ours could not mean the same."""
    if node.offset is not None or node.at is not None:
        raise Unprovable("`offset` and `@` look at another time than the objective does", "Remove them.")
    if node.matchers.or_matchers:
        raise Unprovable("`or` between matchers is not known to this Prometheus", "Use =~ with alternatives.")
    return Counter(node.name or "", tuple(_matcher(matcher) for matcher in node.matchers.matchers))


def _matcher(matcher: Any) -> Matcher:
    return Matcher(matcher.name, _OPERATORS[str(matcher.op)], matcher.value)


def seconds(span: timedelta) -> int:
    """Whole seconds of a range. Raises `Unprovable` for parts of one."""
    if span % timedelta(seconds=1):
        raise Unprovable("a range has parts of a second", "Use whole seconds.")
    return span // timedelta(seconds=1)


def children(node: Any) -> list[Any]:
    """The parts of a node, in order; none of a selector or a literal."""
    match type(node).__name__:
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
        case "AggregateExpr":
            return [node.expr] if node.param is None else [node.param, node.expr]
        case "Call":
            return list(node.args)
        case "BinaryExpr":
            return [node.lhs, node.rhs]
    return []


def nodes(tree: Any) -> Iterator[Any]:
    """All nodes of a tree, from left to right."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        left += reversed(children(node))


def selectors(tree: Any) -> list[Counter]:
    """All selectors of a tree, from left to right."""
    kinds = {"VectorSelector": lambda node: node, "MatrixSelector": lambda node: node.vector_selector}
    return [counter(kinds[name](node)) for node in nodes(tree) if (name := type(node).__name__) in kinds]


def _too_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return False
    return True


def printed(node: Any, tenant_label: str = "", dropped: frozenset[str] = frozenset()) -> str:
    """The query per tenant: every aggregation keeps the label, `dropped` labels have no matcher any more.

    Without a label the query as it is.
    """
    return _Printer(tenant_label, dropped).text(node)


def template(node: Any) -> str:
    """A part of a query as it was, to be parsed again."""
    return printed(node).replace(WINDOW, "{{.window}}")


@dataclass(frozen=True, slots=True)
class _Printer:
    tenant_label: str
    dropped: frozenset[str]

    @property
    def _tenant(self) -> list[str]:
        return [self.tenant_label] if self.tenant_label else []

    def text(self, node: Any) -> str:
        match type(node).__name__:
            case "NumberLiteral":
                return _number(node.val)
            case "StringLiteral":
                return quoted(node.val)
            case "VectorSelector":
                return self._selector(node)
            case "MatrixSelector":
                return f"{self._selector(node.vector_selector)}[{_range(node.range)}]"
            case "SubqueryExpr":
                return self._subquery(node)
            case "ParenExpr":
                return f"({self.text(node.expr)})"
            case "UnaryExpr":
                return f"-{self.text(node.expr)}"
            case "Call":
                return f"{node.func.name}({', '.join(map(self.text, node.args))})"
            case "AggregateExpr":
                return self._aggregate(node)
        return self._binary(node)

    def _selector(self, node: Any) -> str:
        found = counter(node)
        for label in sorted(self.dropped):
            found = found.without(label)
        return found.text

    def _subquery(self, node: Any) -> str:
        if node.offset is not None or node.at is not None:
            raise Unprovable("`offset` and `@` look at another time than the objective does", "Remove them.")
        step = "" if node.step is None else _range(node.step)
        return f"{self.text(node.expr)}[{_range(node.range)}:{step}]"

    def _aggregate(self, node: Any) -> str:
        operator = str(node.op)
        parameter = "" if node.param is None else f"{self.text(node.param)}, "
        inside = f"({parameter}{self.text(node.expr)})"
        labels = [] if node.modifier is None else list(node.modifier.labels)
        if node.modifier is not None and node.modifier.type == promql_parser.AggModifierType.Without:
            kept = [label for label in labels if label != self.tenant_label]
            return f"{operator} without ({', '.join(kept)}) {inside}"
        if node.modifier is None and not self.tenant_label:
            return f"{operator} {inside}"
        others = [label for label in labels if label != self.tenant_label and label not in self.dropped]
        return f"{operator} by ({', '.join([*others, *self._tenant])}) {inside}"

    def _binary(self, node: Any) -> str:
        left, right = self.text(node.lhs), self.text(node.rhs)
        return f"{left} {node.op}{self._matching(node.modifier)} {right}"

    def _matching(self, modifier: Any) -> str:
        if modifier is None:
            return ""
        text = " bool" if modifier.return_bool else ""
        if modifier.matching is not None:
            include = modifier.matching.type == promql_parser.LabelModifierType.Include
            labels = [label for label in modifier.matching.labels if label != self.tenant_label]
            text += (
                f" on ({', '.join([*labels, self.tenant_label])})" if include else f" ignoring ({', '.join(labels)})"
            )
        side = {"ManyToOne": " group_left", "OneToMany": " group_right"}.get(str(modifier.card).rpartition(".")[2], "")
        return text + (f"{side} ({', '.join(modifier.group_labels or ())})" if side else "")


def _range(span: timedelta) -> str:
    whole = seconds(span)
    return WINDOW if whole == WINDOW_SECONDS else duration(whole)


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise Unprovable("a query with NaN or Inf has no share to give", "Remove the number.")
    return number(Decimal(repr(value)))
