"""PromQL: literals survive the parser, expressions match what they name, `keeps_label` is never true without proof."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliary import promql
from reliary.definitions.scalars import Text
from reliary.definitions.schema import TENANT_ID
from reliary.definitions.shapes import Faults
from reliary.definitions.source import Source
from reliary.definitions.yamltree import Scalar

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = st.lists(st.sampled_from(['"', "'", "`", "\\", "\n", "\r", "{", "}", ")", "#", "x", "\x00", "é", "🚀"])).map(
    "".join
)
IDS = st.from_regex(TENANT_ID.pattern, fullmatch=True).filter(lambda text: len(text) <= TENANT_ID.maximum)


def accepted(shape: Text, text: str) -> bool:
    place = Source("f", text, [text]).place(0, 0)
    return shape.read(Scalar(text, False, place), Faults()) is not None


@given(TEXT | HOSTILE)
def test_a_quoted_text_is_read_back_by_the_parser(text: str) -> None:
    parsed = promql_parser.parse(f"x{{a={promql.quoted(text)}}} + y")
    assert isinstance(parsed, promql_parser.BinaryExpr)
    assert parsed.lhs.matchers.matchers[0].value == text


@given(TEXT | HOSTILE, TEXT | HOSTILE)
def test_a_series_has_the_labels_it_was_given(one: str, two: str) -> None:
    parsed = promql_parser.parse(promql.series("x", ("a", one), ("b", two)))
    assert [(matcher.name, matcher.value) for matcher in parsed.matchers.matchers] == [("a", one), ("b", two)]


@given(st.lists(IDS, min_size=1, max_size=8), IDS)
def test_any_of_matches_these_ids_and_no_other(ids: list[str], other: str) -> None:
    pattern = promql.any_of(ids)
    assert all(re.fullmatch(pattern, id_) for id_ in ids)
    assert bool(re.fullmatch(pattern, other)) == (other in ids)


@given(st.lists(IDS, min_size=1, max_size=4), st.text(max_size=20))
def test_any_of_matches_no_other_text(ids: list[str], other: str) -> None:
    assert bool(re.fullmatch(promql.any_of(ids), other)) == (other in ids)


@given(IDS, st.sampled_from("._@+-"), IDS)
def test_a_sign_in_an_id_is_no_wildcard(start: str, sign: str, end: str) -> None:
    """The near misses that random texts never hit: the sign changed, left out or doubled, and the id cut off."""
    id_ = start + sign + end
    for other in (
        f"{start}#{end}",
        start + end,
        f"{start}{sign}{sign}{end}",
        id_[:-1],
        id_ + "x",
        start + start[-1] + end,
    ):
        assert bool(re.fullmatch(promql.any_of([id_]), other)) == (other == id_)


@given(st.lists(IDS, min_size=1, max_size=4))
def test_a_regular_expression_of_ids_survives_quoting(ids: list[str]) -> None:
    """Prometheus and Alertmanager unquote the same way, so what is matched is what was meant."""
    parsed = promql_parser.parse(f"x{{tenant_id=~{promql.quoted(promql.any_of(ids))}}}")
    assert parsed.matchers.matchers[0].value == promql.any_of(ids)


@given(TEXT | HOSTILE)
def test_what_the_reader_takes_for_a_tenant_id_is_harmless(text: str) -> None:
    if accepted(TENANT_ID, text):
        assert re.fullmatch(r"[A-Za-z0-9._@+-]+", text)
        assert promql.quoted(text) == f'"{text}"'
        assert ".." not in text
        assert not text.startswith((".", "-", "+", "@"))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**12, places=9))
def test_numbers_are_written_without_exponent_and_read_back_the_same(value: Decimal) -> None:
    text = promql.number(value)
    assert "e" not in text.lower()
    assert Decimal(text) == value


# -- keeps_label: `t` is the label; sound means that no expression with False here may give True

KEEPS = [
    "x",
    "x offset 5m",
    'x{t="acme"}',
    'x{t!=""}',
    "(x)",
    "-x",
    "1 - x",
    "x > 0",
    "x > bool 0",
    "scalar(x) * y",
    "rate(x[5m])",
    "max_over_time(x[1h:5m])",
    "quantile_over_time(0.9, x[1h])",
    "predict_linear(x[1h], 3600)",
    "last_over_time(x[5m])",
    "clamp_max(x, 1)",
    "clamp_max(x, scalar(sum(y)))",
    "round(x, 0.1)",
    "hour(x)",
    "sort_desc(x)",
    "sum by (t) (x)",
    "sum by (a, t) (rate(x[5m]))",
    "sum without (a) (x)",
    "sum without () (x)",
    "group by (t) (x)",
    "quantile by (t) (0.9, x)",
    'count_values by (t) ("v", x)',
    "topk(3, x)",
    "topk by (a) (3, x)",
    "bottomk without (t) (3, x)",
    "x / y",
    "x / on (t) y",
    "x / ignoring (a) y",
    "x and y",
    "x and on (a) y",
    "x unless sum(y)",
    "x or y",
    "x or on (t) 0 * y",
    "x == on (t) sum by (t) (y)",
    "histogram_quantile(0.9, sum by (t, le) (rate(x[5m])))",
]
LOSES = [
    "5",
    "time()",
    "vector(1)",
    "scalar(x)",
    "hour()",
    "absent(x)",
    "absent_over_time(x[5m])",
    "sum(x)",
    "sum by () (x)",
    "sum by (a) (x)",
    "sum without (t) (x)",
    "-sum(x)",
    "1 - sum(x)",
    "quantile(0.9, x)",
    "topk(3, sum(x))",
    'count_values("t", x)',
    'count_values("v", x)',
    "max_over_time(sum(x)[1h:5m])",
    "clamp_max(vector(1), scalar(x))",
    "day_of_week(vector(time()))",
    'label_replace(x, "t", "$1", "a", "(.*)")',
    'label_join(x, "t", ",", "a")',
    "x / on (a) y",
    "x / on () y",
    "x / ignoring (t) y",
    "x == sum(y)",
    "sum(x) and y",
    "sum(x) and on () y",
    "x or sum(y)",
    "x or vector(0)",
    "x or on (t) vector(0)",
    "x * on (a) group_left (t) sum(y)",
    "sum(x) * on (a) group_left () y",
    "histogram_quantile(0.9, sum by (le) (rate(x[5m])))",
    "scalar(x) > bool scalar(y)",
]
OVERWRITTEN = ['count_values by (t) ("t", x)', 'sum by (t) (count_values without (a) ("t", x))']
"""The label is there, but with numbers in it instead of tenants."""


@pytest.mark.parametrize("expr", KEEPS)
def test_the_label_is_kept(expr: str) -> None:
    assert promql.keeps_label(expr, "t")


@pytest.mark.parametrize("expr", LOSES)
def test_the_label_is_lost(expr: str) -> None:
    assert not promql.keeps_label(expr, "t")


@pytest.mark.parametrize("expr", OVERWRITTEN)
def test_the_label_is_overwritten(expr: str) -> None:
    assert not promql.keeps_label(expr, "t")


SIMPLE = st.sampled_from(["x", "y", "rate(x[5m])", "sum(x)", "sum by (t) (x)", "sum by (a) (x)", "vector(1)", "2"])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = ["({})", "sum by (t) ({})", "sum without (a) ({})", "abs({})", "sum({})", "topk(1, {})", "clamp_min({}, 0)"]
    pairs = ["({}) + on (t) ({})", "({}) + ({})", "({}) and on () ({})", "({}) or ({})", "({}) * on () ({})"]
    one = st.builds(str.format, st.sampled_from(forms), inner)
    return one | st.builds(str.format, st.sampled_from(pairs), inner, inner)


@given(st.recursive(SIMPLE, nested, max_leaves=6))
def test_what_keeps_the_label_never_gives_a_series_without_it(expr: str) -> None:
    """Against a small evaluator that follows the label sets of series, as Prometheus does."""
    try:
        promql_parser.parse(expr)
    except ValueError:
        return
    if promql.keeps_label(expr, "t"):
        labels = _label_sets(promql_parser.parse(expr))
        assert labels
        assert all("t" in each for each in labels)


def _label_sets(node: Any) -> set[frozenset[str]] | None:
    """The label names of the series that an expression can give, for metrics that have `t` and `a`; None: a number."""
    match type(node).__name__:
        case "VectorSelector" | "MatrixSelector":
            return {frozenset("ta")}
        case "ParenExpr":
            return _label_sets(node.expr)
        case "AggregateExpr":
            return {_aggregated(node, labels) for labels in _label_sets(node.expr) or ()}
        case "Call":
            return {frozenset()} if node.func.name == "vector" else _label_sets(node.args[0])
        case "BinaryExpr":
            return _combined(node)
    return None


def _aggregated(node: Any, labels: frozenset[str]) -> frozenset[str]:
    if str(node.op) == "topk":
        return labels
    if node.modifier is None:
        return frozenset()
    by = node.modifier.type == promql_parser.AggModifierType.By
    return labels & set(node.modifier.labels) if by else labels - set(node.modifier.labels)


def _combined(node: Any) -> set[frozenset[str]] | None:
    left, right = _label_sets(node.lhs), _label_sets(node.rhs)
    if left is None or right is None:
        return right if left is None else left
    if str(node.op) == "or":
        return left | right
    matching = node.modifier and node.modifier.matching
    if str(node.op) == "and" or not matching:
        return left
    return {labels & set(matching.labels) for labels in left}
