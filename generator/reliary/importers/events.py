"""What a foreign query counts: proven to be a sum of counters, or refused by name.

Rates become counts: `rate` is `increase` divided by the window, so both sides of a ratio grow by the same factor as
long as each is a sum of rates (with differences and constant factors). Everything else is refused: a maximum or a
join of rates is no number of events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import promql_parser

from reliary import promql
from reliary.importers.promqltext import (
    WINDOW_SECONDS,
    Counter,
    Unprovable,
    counter,
    nodes,
    parsed,
    printed,
    seconds,
    template,
)

Per: TypeAlias = Literal["second", "window", "ever"]
"""What a term gives: events a second (`rate`), in the window (`increase`), or since a start (the bare counter)."""

COUNTS = {"count_over_time", "sum_over_time"}
_WHY_NOT = {
    "irate": ("`irate` looks at the last two samples, whatever the window", "Use rate."),
    "delta": ("`delta` is for gauges: it gives no events", "Use a counter and rate."),
    "idelta": ("`idelta` looks at the last two samples, whatever the window", "Use a counter and rate."),
    "deriv": ("`deriv` is for gauges: it gives no events", "Use a counter and rate."),
    "clamp_min": (
        "`clamp_min` makes up events where there are few, which changes the share",
        "Remove it: windows without traffic have no burn rate here.",
    ),
    "histogram_quantile": (
        "`histogram_quantile` gives seconds, not events",
        "Count the requests within a bound: `histogram` and `within`.",
    ),
    "histogram_fraction": ("`histogram_fraction` gives a share, not events", "Use `histogram`, `within` and `native`."),
    "histogram_count": ("a native histogram cannot be taken apart here", "Use `histogram`, `within` and `native`."),
    "vector": (
        "`vector` has no tenant",
        "Remove it: a tenant without errors has zero of them here, a tenant without data has none.",
    ),
}
_USE = "Write it as sums of rates of counters, or record it with a rule first."


@dataclass(frozen=True, slots=True)
class Term:
    """A counter, or a count over the window that the parser's tree describes, times a factor."""

    factor: Decimal
    counter: Counter
    per: Per
    seconds: int = WINDOW_SECONDS
    count: str = ""

    @property
    def what(self) -> tuple[Counter, str]:
        return self.counter, self.count


@dataclass(frozen=True, slots=True)
class Events:
    """A sum of terms. `grouped` are labels that it was split by, `dropped` what was left out without harm."""

    terms: tuple[Term, ...]
    grouped: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def per(self) -> Per:
        return self.terms[0].per

    @property
    def alone(self) -> Counter | None:
        """The counter if that is all there is."""
        one = self.terms[0]
        return one.counter if len(self.terms) == 1 and one.factor == 1 and not one.count else None

    def minus(self, other: Events) -> Events | None:
        """The difference, None when nothing is left or something would be negative alone."""
        terms = _collected([*self.terms, *(_times(term, Decimal(-1)) for term in other.terms)])
        return Events(terms) if terms and any(term.factor > 0 for term in terms) else None

    def query(self, tenant_label: str) -> str:
        """Events per tenant within `{window}`; raises `Unprovable` where the tenant is lost.

        A series that a tenant lacks counts as zero beside those it has.
        """
        parts = [self._part(term, tenant_label) for term in self.terms]
        if len(parts) == 1:
            return _scaled(self.terms[0].factor, parts[0])
        text = ""
        for at, (term, part) in enumerate(zip(self.terms, parts, strict=True)):
            others = "".join(f" or 0 * {other}" for index, other in enumerate(parts) if index != at)
            sign = " - " if term.factor < 0 else " + " if at else ""
            text += f"{sign}{_scaled(abs(term.factor), f'({part}{others})')}"
        return text

    def _part(self, term: Term, tenant_label: str) -> str:
        counted = f"increase({term.counter.text}[{promql.WINDOW}])"
        if term.count:
            counted = per_tenant(term.count, tenant_label)
        return f"sum by ({tenant_label}) ({counted})"


def per_tenant(query: str, tenant_label: str, dropped: frozenset[str] = frozenset()) -> str:
    """A query as definitions have it, with the tenant kept throughout. Raises `Unprovable` where it is lost."""
    text = printed(parsed(query), tenant_label, dropped)
    tried = text.replace(promql.WINDOW, "5m")
    if promql.syntax_problem(tried) is not None or not promql.keeps_label(tried, tenant_label):
        message = f"the query cannot be made to keep the label `{tenant_label}`"
        raise Unprovable(message, "Write it with counters: bad and total, or good and total.")
    return text


def _scaled(factor: Decimal, text: str) -> str:
    return text if factor == 1 else f"{promql.number(factor)} * {text}"


def events(text: str, *, bare_counters: bool = False) -> Events:
    """What a query counts. Raises `Unprovable`.

    With `bare_counters`, series without a function are counters, and any one range stands for the window.
    """
    return events_of(parsed(text), bare_counters=bare_counters)


def events_of(node: Any, *, bare_counters: bool = False) -> Events:
    """What a part of a query counts. Raises `Unprovable`."""
    reader = _Reader()
    terms = _collected(reader.terms(node))
    if not terms:
        raise Unprovable("the query counts nothing", _USE)
    _one_kind(terms, bare_counters)
    return Events(terms, tuple(dict.fromkeys(reader.grouped)), tuple(dict.fromkeys(reader.dropped)))


def _one_kind(terms: tuple[Term, ...], bare_counters: bool) -> None:
    if len({term.per for term in terms}) > 1:
        raise Unprovable("rates and counts are added up in one query", "Use rate everywhere, or increase everywhere.")
    spans = {term.seconds for term in terms}
    if len(spans) > 1:
        raise Unprovable("the query mixes windows", "Use one window everywhere.")
    if bare_counters:
        return
    if terms[0].per == "ever":
        message = f"`{terms[0].counter.text}` is read without a window, so it gives no events in one"
        raise Unprovable(message, "Use rate or increase over the window.")
    if spans != {WINDOW_SECONDS}:
        raise Unprovable("the query has a range of its own in place of `{{.window}}`", "Write [{{.window}}].")


def _times(term: Term, factor: Decimal) -> Term:
    return Term(term.factor * factor, term.counter, term.per, term.seconds, term.count)


def _collected(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Equal terms as one, those that cancel out left out, those that add first."""
    sums: dict[tuple[Counter, str], Term] = {}
    for term in terms:
        old = sums.get(term.what)
        if old is not None and (old.per, old.seconds) != (term.per, term.seconds):
            raise Unprovable("one counter is read in two ways", "Read it in one way.")
        factor = term.factor + (old.factor if old else 0)
        sums[term.what] = Term(factor, term.counter, term.per, term.seconds, term.count)
    return tuple(sorted((term for term in sums.values() if term.factor), key=lambda term: term.factor < 0))


class _Reader:
    """Follows a tree down to its counters, and notes what it passes."""

    def __init__(self) -> None:
        self.grouped: list[str] = []
        self.dropped: list[str] = []

    def terms(self, node: Any) -> list[Term]:
        match type(node).__name__:
            case "ParenExpr":
                return self.terms(node.expr)
            case "UnaryExpr":
                return [_times(term, Decimal(-1)) for term in self.terms(node.expr)]
            case "VectorSelector":
                return [Term(Decimal(1), counter(node), "ever")]
            case "AggregateExpr":
                return self._sum(node)
            case "Call":
                return self._call(node)
            case "BinaryExpr":
                return self._binary(node)
        raise Unprovable("a number or a range counts nothing", _USE)

    def _sum(self, node: Any) -> list[Term]:
        if str(node.op) != "sum":
            raise Unprovable(f"`{node.op}` of rates is no number of events", _USE)
        if node.modifier is not None:
            by = node.modifier.type == promql_parser.AggModifierType.By
            self.grouped += node.modifier.labels if by else ["all labels but " + ", ".join(node.modifier.labels)]
        return self.terms(node.expr)

    def _call(self, node: Any) -> list[Term]:
        name = node.func.name
        if name in ("rate", "increase") and type(node.args[0]).__name__ == "MatrixSelector":
            span = seconds(node.args[0].range)
            found = counter(node.args[0].vector_selector)
            return [Term(Decimal(1), found, "second" if name == "rate" else "window", span)]
        if name in COUNTS:
            return [self._count(node)]
        if name in ("rate", "increase"):
            raise Unprovable(f"`{name}` of a subquery is not a count of events", "Take it of the counter itself.")
        raise Unprovable(*_WHY_NOT.get(name, (f"of `{name}` it cannot be proven that it counts events", _USE)))

    def _count(self, node: Any) -> Term:
        """`sum_over_time` and the like give a number in the window already; the text is kept as it is."""
        return Term(Decimal(1), Counter(""), "window", seconds(node.args[0].range), template(node))

    def _binary(self, node: Any) -> list[Term]:
        operator = str(node.op)
        if node.modifier is not None and str(node.modifier.card).rpartition(".")[2] in ("ManyToOne", "OneToMany"):
            raise Unprovable("a join (`group_left`, `group_right`) is not a sum of counters", _USE)
        if operator in ("+", "-"):
            if not any(type(inner).__name__ == "AggregateExpr" for inner in nodes(node)):
                self.dropped.append(f"`{operator}` between single series: {PAIRED}")
            right = self.terms(node.rhs)
            return self.terms(node.lhs) + (right if operator == "+" else [_times(term, Decimal(-1)) for term in right])
        if operator == "*" or operator == "/":
            return self._product(node, operator)
        if operator == "or":
            return self._or(node)
        if operator in (">", "!=", ">=") and _literal(node.rhs) == 0 and not _is_bool(node):
            self.dropped.append(f"`{operator} 0`: windows without traffic have no burn rate here in any case")
            return self.terms(node.lhs)
        raise Unprovable(f"`{operator}` between vectors is not a sum of counters", _USE)

    def _product(self, node: Any, operator: str) -> list[Term]:
        left, right = _literal(node.lhs), _literal(node.rhs)
        if right is not None and right != 0:
            return [_times(term, 1 / right if operator == "/" else right) for term in self.terms(node.lhs)]
        if left is not None and operator == "*":
            return [_times(term, left) for term in self.terms(node.rhs)]
        raise Unprovable(f"`{operator}` between vectors is not a sum of counters", _USE)

    def _or(self, node: Any) -> list[Term]:
        right = node.rhs
        while type(right).__name__ == "ParenExpr":
            right = right.expr
        if type(right).__name__ == "Call" and right.func.name == "vector":
            if _literal(right.args[0]) == 0:
                self.dropped.append(OR_VECTOR)
                return self.terms(node.lhs)
            message = "`or vector(…)` makes up events where there are none, which changes the share"
            raise Unprovable(message, "Remove it: a tenant without data has no burn rate here.")
        if all(not term.factor for term in self.terms(right)):
            self.dropped.append("`or 0 * …`: here what is missing beside a total counts as zero in any case")
            return self.terms(node.lhs)
        raise Unprovable("`or` between counters is not a sum of counters", "Use one selector with =~ for both.")


PAIRED = "the sums are taken instead, so that a series without a partner counts as well"
OR_VECTOR = (
    "`or vector(0)`: a tenant with requests and without errors has zero errors here; one that is not scraped has no "
    "data, where the old query called it healthy"
)


def _literal(node: Any) -> Decimal | None:
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return Decimal(repr(node.val)) if type(node).__name__ == "NumberLiteral" and node.val == node.val else None


def _is_bool(node: Any) -> bool:
    return node.modifier is not None and bool(node.modifier.return_bool)
