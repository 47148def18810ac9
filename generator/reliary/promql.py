"""PromQL: a small builder whose every piece is text that is safe to nest, and proofs on what users wrote.

Builders take series names (from `names.py`) and give expressions that need no further parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import promql_parser

from reliary.names import duration

WINDOW = "{window}"


def quoted(text: str) -> str:
    """A PromQL string literal. Any text is safe in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def any_of(values: Sequence[str]) -> str:
    """A regular expression (RE2) that matches exactly these values, for `=~` matchers."""
    return "|".join(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value) for value in values)


def series(name: str, *labels: tuple[str, str]) -> str:
    """An instant selector on a recorded series with equality matchers."""
    inside = ",".join(f"{label}={quoted(value)}" for label, value in labels)
    return f"{name}{{{inside}}}" if inside else name


def sum_by(labels: Sequence[str], expr: str) -> str:
    """The sum of an expression for each value of the labels."""
    return f"sum by ({', '.join(labels)}) ({expr})"


def increase(selector: str, window_seconds: int) -> str:
    """Events of a counter within a window."""
    return f"increase({selector}[{duration(window_seconds)}])"


def rate(selector: str, window_seconds: int) -> str:
    """Events a second of a counter, over a window."""
    return f"rate({selector}[{duration(window_seconds)}])"


def sum_over_time(selector: str, window_seconds: int) -> str:
    """The sum of a series' samples within a window."""
    return f"sum_over_time({selector}[{duration(window_seconds)}])"


def zero_filled(part: str, total: str, on: Sequence[str]) -> str:
    """`part`, and 0 for those that have a total but no such part: a service without an error series is healthy."""
    return f"{part}\nor on ({', '.join(on)})\n0 * {total}"


def share(part: str, total: str) -> str:
    """part / total where there is traffic; at most 1, since two counters are never read at the same instant."""
    return f"clamp_max({part} / ({total} > 0), 1)"


def number(value: object) -> str:
    """A number as PromQL wants it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def syntax_problem(expr: str) -> str | None:
    """What the parser says is wrong with an expression, None when it parses."""
    try:
        promql_parser.parse(expr)
    except ValueError as error:
        return str(error)
    return None


def is_selector(text: str) -> bool:
    """True for a counter with matchers or without: no range, no offset, no function."""
    if syntax_problem(text) is not None:
        return False
    node = promql_parser.parse(text)
    return isinstance(node, promql_parser.VectorSelector) and bool(node.name) and not (node.offset or node.at)


def with_matcher(selector: str, matcher: str) -> str:
    """A selector with one more matcher, such as `le="0.5"`."""
    head, brace, tail = selector.rstrip().partition("{")
    inside = tail.rstrip().removesuffix("}").rstrip().removesuffix(",") if brace else ""
    return f"{head}{{{inside},{matcher}}}" if inside else f"{head}{{{matcher}}}"


def suffixed(selector: str, suffix: str) -> str:
    """A selector on `name_bucket` or `name_count`, from the selector on `name`."""
    head, brace, tail = selector.partition("{")
    return f"{head.rstrip()}{suffix}{brace}{tail}"


@cache
def metric_name(selector: str) -> str:
    """The name of the series that a selector asks for; it must be a valid selector."""
    node = promql_parser.parse(selector)
    assert isinstance(node, promql_parser.VectorSelector)
    return str(node.name)


def same(one: str, other: str) -> bool:
    """True when two expressions say the same, selectors also in other words; `{window}` is a duration."""
    first, second = (promql_parser.parse(text.replace(WINDOW, "5m")) for text in (one, other))
    if isinstance(first, promql_parser.VectorSelector) and isinstance(second, promql_parser.VectorSelector):
        return _said(first) == _said(second)
    return str(first.prettify()) == str(second.prettify())


def _said(selector: Any) -> tuple[Any, ...]:
    matchers = {(each.name, str(each.op), each.value) for each in selector.matchers.matchers}
    return selector.name, frozenset(matchers)


def keeps_label(expr: str, label: str) -> bool:
    """True when every series that a valid expression gives is proven to carry `label`, if the scraped ones do."""
    return _keeps(promql_parser.parse(expr), label) is True


def _keeps(node: Any, label: str) -> bool | None:
    """None for a scalar, which carries no labels and takes none away."""
    match type(node).__name__:
        case "VectorSelector" | "MatrixSelector":
            return True
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return _keeps(node.expr, label)
        case "AggregateExpr":
            return _aggregate_keeps(node, label)
        case "Call":
            return _call_keeps(node, label)
        case "BinaryExpr":
            return _binary_keeps(node, label)
    return None


def _aggregate_keeps(node: Any, label: str) -> bool:
    inner = bool(_keeps(node.expr, label))
    if str(node.op) in ("topk", "bottomk"):
        return inner
    if node.modifier is None or (str(node.op) == "count_values" and getattr(node.param, "val", label) == label):
        return False
    by = node.modifier.type == promql_parser.AggModifierType.By
    return inner and ((label in node.modifier.labels) == by)


def _call_keeps(node: Any, label: str) -> bool | None:
    if node.func.name in ("scalar", "time", "pi"):
        return None
    if node.func.name in ("vector", "absent", "absent_over_time", "label_replace", "label_join"):
        return False
    inner = [kept for argument in node.args if (kept := _keeps(argument, label)) is not None]
    return bool(inner) and all(inner)


def _binary_keeps(node: Any, label: str) -> bool | None:
    left, right = _keeps(node.lhs, label), _keeps(node.rhs, label)
    if left is None or right is None:
        return right if left is None else left
    operator = str(node.op)
    if operator in ("and", "unless"):
        return left
    if operator == "or":
        return left and right
    return left and right and _matching_keeps(node.modifier, label)


def _matching_keeps(modifier: Any, label: str) -> bool:
    if modifier is None or modifier.matching is None:
        return True
    included = bool(modifier.matching.type == promql_parser.LabelModifierType.Include)
    return (label in modifier.matching.labels) is included
