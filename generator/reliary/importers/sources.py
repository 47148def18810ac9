"""What an objective counts, as our definitions say it: counters where they will do, queries where not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import promql_parser

from reliary import promql
from reliary.importers.events import OR_VECTOR, Events, events_of, per_tenant
from reliary.importers.promqltext import Counter, Unprovable, parsed, selectors, template

Part: TypeAlias = Literal["good", "bad"]

ZERO_OR_ONE = {"up", "probe_success"}
"""Gauges that are known to be 1 when all is well and 0 when not."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Counted events of all events."""

    part: Part
    counted: Events
    total: Events

    @property
    def counters(self) -> tuple[Counter, ...]:
        return tuple(term.counter for term in (*self.counted.terms, *self.total.terms))

    def without(self, label: str) -> Ratio:
        """The same for any value of a label."""
        return replace(self, counted=_without(self.counted, label), total=_without(self.total, label))

    def keys(self, tenant_label: str) -> dict[str, object]:
        """The keys of a definition."""
        return {self.part: _text(self.counted, tenant_label), "total": _text(self.total, tenant_label)}


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of a histogram that took at most so many milliseconds."""

    histogram: Counter
    within_milliseconds: int
    native: bool = False

    @property
    def counters(self) -> tuple[Counter, ...]:
        return (self.histogram,)

    def without(self, label: str) -> Latency:
        """The same for any value of a label."""
        return replace(self, histogram=self.histogram.without(label))

    def keys(self, tenant_label: str) -> dict[str, object]:
        """The keys of a definition. A histogram of one tenant can only be said with queries."""
        if self.histogram.value(tenant_label) is not None:
            return self._as_ratio(tenant_label)
        keys: dict[str, object] = {"histogram": self.histogram.text, "within": _span(self.within_milliseconds)}
        return {**keys, "native": True} if self.native else keys

    def _as_ratio(self, tenant_label: str) -> dict[str, object]:
        if self.native:
            message = f"a native histogram of one `{tenant_label}` cannot be said in a query of events"
            raise Unprovable(message, "Import with --merge: the value becomes a tenant.")
        bound = promql.number(Decimal(self.within_milliseconds) / 1000)
        matcher = f'le="{bound}"' if "." in bound else f'le=~"{bound}(?:[.]0)?"'
        bucket = promql.with_matcher(promql.suffixed(self.histogram.text, "_bucket"), matcher)
        count = promql.suffixed(self.histogram.text, "_count")
        return {"good": _increase(bucket, tenant_label), "total": _increase(count, tenant_label)}


@dataclass(frozen=True, slots=True)
class Probe:
    """Samples of a gauge that is 1 or 0."""

    gauge: Counter

    @property
    def counters(self) -> tuple[Counter, ...]:
        return (self.gauge,)

    def without(self, label: str) -> Probe:
        """The same for any value of a label."""
        return Probe(self.gauge.without(label))

    def keys(self, tenant_label: str) -> dict[str, object]:
        """The keys of a definition. A gauge of one tenant can only be said with a query."""
        if self.gauge.value(tenant_label) is None:
            return {"probe": self.gauge.text}
        return {"good_ratio": f"avg by ({tenant_label}) (avg_over_time({self.gauge.text}[{promql.WINDOW}]))"}


@dataclass(frozen=True, slots=True)
class Share:
    """A query that gives a share without counts."""

    part: Part
    query: str
    dropped: frozenset[str] = frozenset()

    @property
    def counters(self) -> tuple[Counter, ...]:
        return tuple(selectors(parsed(self.query)))

    def without(self, label: str) -> Share:
        """The same for any value of a label."""
        return replace(self, dropped=self.dropped | {label})

    def keys(self, tenant_label: str) -> dict[str, object]:
        """The keys of a definition. Raises `Unprovable` when the query cannot be made to keep the tenant."""
        text = per_tenant(self.query, tenant_label, self.dropped)
        tried = text.replace(promql.WINDOW, "5m")
        whole = text if _is_per(parsed(tried), tenant_label) else f"avg by ({tenant_label}) ({text})"
        return {f"{self.part}_ratio": whole}


Source: TypeAlias = Ratio | Latency | Probe | Share


def ratio(part: Part, counted: Events, total: Events) -> Ratio | Latency:
    """The plainest form of counted events of all events: a latency, plain counters, or queries. Raises `Unprovable`."""
    if counted.per != total.per or counted.terms[0].seconds != total.terms[0].seconds:
        message = "the events and their total are not counted alike (rate beside increase, or other windows)"
        raise Unprovable(message, "Use the same function and window in both: what is given now is not a share.")
    if sorted(map(repr, counted.terms)) == sorted(map(repr, total.terms)):
        raise Unprovable("the events and their total are the same", "Say which of the events are counted.")
    other = total.minus(counted)
    if counted.alone is None and other is not None and other.alone is not None:
        flipped: Part = "good" if part == "bad" else "bad"
        return _plainest(Ratio(flipped, replace(other, grouped=counted.grouped, dropped=counted.dropped), total))
    return _plainest(Ratio(part, counted, total))


def share(part: Part, query: str, *, bare_counters: bool = False) -> Source:
    """The plainest form of a query that gives a share: counts where it is a division of them. Raises `Unprovable`."""
    node = _bare(parsed(query))
    text = template(node)
    if _is(node, "-") and getattr(_bare(node.lhs), "val", None) == 1:
        part, node = "good" if part == "bad" else "bad", _bare(node.rhs)
        plain = _divided(part, node, bare_counters) or _probe(part, node)
        return plain or Share("good" if part == "bad" else "bad", text)
    return _divided(part, node, bare_counters) or _probe(part, node) or Share(part, text)


def _divided(part: Part, node: Any, bare_counters: bool) -> Source | None:
    if not _is(node, "/"):
        return None
    try:
        counted, total = (events_of(side, bare_counters=bare_counters) for side in (node.lhs, node.rhs))
        return ratio(part, counted, total)
    except Unprovable:
        return None


def _probe(part: Part, node: Any) -> Probe | None:
    """`avg_over_time(up[w])`, with an average around it or without."""
    if type(node).__name__ == "AggregateExpr" and str(node.op) == "avg":
        node = _bare(node.expr)
    if part == "bad" or type(node).__name__ != "Call" or node.func.name != "avg_over_time":
        return None
    found = selectors(node)
    return Probe(found[0]) if len(found) == 1 and found[0].name in ZERO_OR_ONE else None


def _bare(node: Any) -> Any:
    """Without parentheses, and without `or vector(0)` around it: absence is no data here, not success."""
    while True:
        if type(node).__name__ == "ParenExpr":
            node = node.expr
        elif _is(node, "or") and _is_zero(node.rhs):
            node = node.lhs
        else:
            return node


def drops_or_vector(query: str) -> str | None:
    """What to say of an `or vector(0)` around a whole query."""
    node = parsed(query)
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return OR_VECTOR if _is(node, "or") and _is_zero(node.rhs) else None


def _is_zero(node: Any) -> bool:
    return type(node).__name__ == "Call" and node.func.name == "vector" and getattr(node.args[0], "val", 1) == 0


def _is(node: Any, operator: str) -> bool:
    return type(node).__name__ == "BinaryExpr" and str(node.op) == operator


def _plainest(found: Ratio) -> Ratio | Latency:
    return _latency(found) or found


def _latency(found: Ratio) -> Latency | None:
    """Good requests are one bucket of the histogram whose count is the total."""
    bucket, count = found.counted.alone, found.total.alone
    if found.part != "good" or bucket is None or count is None:
        return None
    return latency_of(bucket, count)


def latency_of(bucket: Counter, count: Counter) -> Latency | None:
    """The latency that a bucket and a count make, None when they do not belong together or are not in seconds."""
    name, bound = bucket.name.removesuffix("_bucket"), bucket.value("le")
    whole = count.name == f"{name}_count" or (count.name == bucket.name and count.value("le") == "+Inf")
    if (
        not name.endswith("_seconds")
        or bound is None
        or not whole
        or not bucket.without("le").alike(count.without("le"))
    ):
        return None
    span = milliseconds(bound) if _is_usual(bound) else None
    return None if span is None else Latency(Counter(name, bucket.without("le").matchers), span)


def _is_usual(bound: str) -> bool:
    """True for a bound that is written as clients write it, which is how rules ask for it: 0.5, 1 or 1.0."""
    return re.fullmatch(r"(?:0|[1-9][0-9]*)(?:\.0|\.[0-9]*[1-9])?", bound) is not None


def milliseconds(seconds: str) -> int | None:
    """Whole milliseconds of a bucket's bound, None when it has none: +Inf, or parts of a millisecond."""
    try:
        span = Decimal(seconds) * 1000
    except ArithmeticError:
        return None
    return int(span) if span.is_finite() and span % 1 == 0 and 0 < span <= 3_600_000 else None


def _span(span: int) -> str:
    return f"{span // 1000}s" if span % 1000 == 0 else f"{span}ms"


def _increase(selector: str, tenant_label: str) -> str:
    return f"sum by ({tenant_label}) (increase({selector}[{promql.WINDOW}]))"


def _without(found: Events, label: str) -> Events:
    return replace(found, terms=tuple(replace(term, counter=term.counter.without(label)) for term in found.terms))


def _text(found: Events, tenant_label: str) -> str:
    """The counter alone where that says it all, else a query."""
    alone = found.alone
    if alone is not None and alone.name and alone.value(tenant_label) is None:
        return alone.text
    return found.query(tenant_label)


def _is_per(node: Any, tenant_label: str) -> bool:
    """True for an aggregation that leaves nothing but the tenant."""
    if type(node).__name__ != "AggregateExpr" or node.modifier is None or str(node.op) in ("topk", "bottomk"):
        return False
    by = node.modifier.type == promql_parser.AggModifierType.By
    return bool(by and node.modifier.labels == [tenant_label])


def series_of(source: Source) -> set[str]:
    """Names of the series that a source reads."""
    if isinstance(source, Latency) and not source.native:
        return {source.histogram.name + suffix for suffix in ("_bucket", "_count")}
    terms = (*source.counted.terms, *source.total.terms) if isinstance(source, Ratio) else ()
    counted = [counter for term in terms if term.count for counter in selectors(parsed(term.count))]
    return {counter.name for counter in (*source.counters, *counted) if counter.name}
