"""Series that a selector would match, for the input of proofs: label values are made up from its matchers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import promql_parser

from reliary import promql
from reliary.model import Indicator, Ratio, Selector


class NoSample(ValueError):
    """No series could be made up for a selector; what it feeds stays without a generated proof."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two selectors' series: `counted` grows with what is counted, `rest` with all else that `total` sees.

    `rest_is_total` is True where the total is a counter of its own, which must grow with both.
    """

    counted: str
    rest: str
    rest_is_total: bool


def pair(source: Ratio, tenant: tuple[str, str]) -> Pair:
    """Series of one tenant that feed a ratio. Raises `NoSample` for free queries and unusual matchers."""
    if not isinstance(source.counted, Selector) or not isinstance(source.total, Selector):
        raise NoSample("the definition is a query of its own, not a counter")
    counted, total = source.counted.text, source.total.text
    if promql.metric_name(counted) != promql.metric_name(total):
        return Pair(_series(counted, {}, tenant), _series(total, {}, tenant), True)
    common = _matching(total)
    inside = {**common, **_matching(counted)}
    outside = {**inside, **_breaking(counted, common)}
    return Pair(_series(counted, inside, tenant), _series(counted, outside, tenant), False)


def feed(indicator: Indicator, tenant: tuple[str, str], counted: Decimal, total: Decimal) -> dict[str, Decimal]:
    """How much each raw series grows in a step so that `counted` of `total` events of one tenant are counted."""
    series = pair(indicator.source, tenant)
    return {series.counted: counted, series.rest: total if series.rest_is_total else total - counted}


@dataclass(frozen=True, slots=True)
class Buckets:
    """Series of a classic histogram: requests within the bound, all of them by bucket, and all of them counted."""

    good: str
    infinite: str
    count: str


def histogram(selector: Selector, bound: str, tenant: tuple[str, str]) -> Buckets:
    """The series of one tenant that a latency SLO reads."""
    labels = _matching(selector.text)
    name = promql.metric_name(selector.text)
    return Buckets(
        _named(f"{name}_bucket", {**labels, "le": bound}, tenant),
        _named(f"{name}_bucket", {**labels, "le": "+Inf"}, tenant),
        _named(f"{name}_count", labels, tenant),
    )


def one_series(selector: Selector, tenant: tuple[str, str]) -> str:
    """A series of one tenant that a selector matches."""
    return _series(selector.text, {}, tenant)


def _series(selector: str, labels: dict[str, str], tenant: tuple[str, str]) -> str:
    return _named(promql.metric_name(selector), labels or _matching(selector), tenant)


def _named(name: str, labels: dict[str, str], tenant: tuple[str, str]) -> str:
    return promql.series(name, *sorted({**labels, tenant[0]: tenant[1]}.items()))


@cache
def _matchers(selector: str) -> tuple[Any, ...]:
    node = promql_parser.parse(selector)
    assert isinstance(node, promql_parser.VectorSelector)
    return tuple(node.matchers.matchers)


def _matching(selector: str) -> dict[str, str]:
    return {matcher.name: _value(matcher, True) for matcher in _matchers(selector)}


def _breaking(selector: str, keep: dict[str, str]) -> dict[str, str]:
    """One label changed so that the selector no longer matches, though the total still does."""
    for matcher in _matchers(selector):
        if matcher.name not in keep:
            return {matcher.name: _value(matcher, False)}
    raise NoSample("what is counted cannot be told from the total by a label")


def _value(matcher: Any, matches: bool) -> str:
    positive = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re)
    exact = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
    if positive != matches:
        return _other(matcher.value, exact)
    return str(matcher.value) if exact else _fitting(matcher.value)


def _other(value: str, exact: bool) -> str:
    for candidate in ("other", "none"):
        if candidate != value and (exact or not re.fullmatch(value, candidate)):
            return candidate
    raise NoSample(f"no value is outside of {value}")


def _fitting(pattern: str) -> str:
    """A value that fits a simple regular expression: the first alternative, with wildcards filled in."""
    first = re.sub(r"[()?:^$]", "", pattern).split("|")[0]
    filled = re.sub(r"\.\*|\.\+|\\d\+?|\[0-9\]\+?|\.", "0", first).replace("\\", "")
    for candidate in (filled, filled.rstrip("+*?")):
        try:
            if re.fullmatch(pattern, candidate):
                return candidate
        except re.error:
            break
    raise NoSample(f"no value was found that fits {pattern}")
