"""OpenSLO v1alpha, v1 and v2alpha: SLO, SLI, AlertPolicy and AlertCondition, with references between files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.events import Events, events
from reliary.importers.found import Alerts, Change, Found, Harvest, Together, Window
from reliary.importers.openslo_alerts import alerts as openslo_alerts
from reliary.importers.openslo_objects import Objects
from reliary.importers.openslo_windows import window as openslo_window
from reliary.importers.promqltext import WINDOW_SECONDS, Counter, Unprovable, counter, parsed, selectors
from reliary.importers.sloth import query_changes, share_source
from reliary.importers.sources import ZERO_OR_ONE, Latency, Part, Probe, Ratio, Source, milliseconds, ratio
from reliary.names import duration

_QUERY_KEYS = ("query", "promql", "promQL", "expr")


@dataclass(frozen=True, slots=True)
class _Slo:
    """An SLO object while it is read."""

    name: str
    spec: Cursor
    service: str
    owner: str
    window: Window
    alerts: Alerts
    changes: tuple[Change, ...]


def harvest(objects: Sequence[Cursor]) -> Harvest:
    """The objectives of all objects, with problems."""
    run = Objects()
    slos = [each for each in objects if run.take(each)]
    for each in slos:
        _slo(run, each)
    sources = sum(1 for kind, _ in run.named if kind == "DataSource")
    if sources:
        text = f"{sources} DataSource left out: Prometheus is where the definitions run."
        run.harvest.notes.append(text)
    if any(kind == "AlertNotificationTarget" for kind, _ in run.named):
        run.harvest.notes.append("AlertNotificationTargets are left out: write `receivers` and `routes`.")
    return run.harvest


def _slo(run: Objects, each: Cursor) -> None:
    name, spec = each["metadata"]["name"].text, each["spec"]
    if not harvesting.is_there(run.harvest, each["metadata"]["name"], "an SLO", "metadata.name"):
        return
    fine = _budgeting(run, name, spec)
    window, changes = openslo_window(run.harvest, name, spec)
    if window is None or not fine:
        return
    alerts, of_alerts = openslo_alerts(run, name, spec, window)
    labels = each["metadata"]["labels"].texts()
    owner = harvesting.owner_of(labels)
    service = spec["service"].text or spec["serviceRef"].text
    dropped = harvesting.dropped_labels(labels, owner, "labels")
    slo = _Slo(name, spec, service, owner, window, alerts, (*changes, *of_alerts, *dropped))
    objectives = spec["objectives"].items()
    if not objectives:
        run.harvest.refuse("I103", spec.place, f"{name}: `objectives` is missing.", "Add one.")
    elif any(_own_indicator(objective) for objective in objectives):
        _composite(run, slo, objectives)
    else:
        for at, title in zip(objectives, _titles(name, objectives), strict=True):
            _objective(run, slo, at, title, spec)


def _titles(name: str, objectives: Sequence[Cursor]) -> list[str]:
    """A title for each objective: that of the SLO if there is one, else with what tells them apart."""
    if len(objectives) == 1:
        return [name]
    words = [each["displayName"].text for each in objectives]
    apart = len(set(words)) == len(words)
    return [f"{name}-{word if apart and word else at}" for at, word in enumerate(words, 1)]


def _budgeting(run: Objects, name: str, spec: Cursor) -> bool:
    method = spec["budgetingMethod"]
    if method.text in ("", "Occurrences"):
        return True
    message = f"{name}: the budgeting method `{method.text[:40]}` counts time slices; here events are counted."
    advice = "Change it to Occurrences (what changes: a minute with more requests weighs more), or keep a gauge that "
    advice += "is 1 in a good slice and import that as `probe`."
    run.harvest.refuse("I110", method.place, message, advice)
    return False


# -- objectives


def _objective(run: Objects, slo: _Slo, at: Cursor, title: str, indicated: Cursor) -> Found | None:
    percent = _target(run, at, title)
    read = _indicator(run, slo, at, title, indicated)
    if read is None or percent is None:
        return None
    source, changes, own = read
    found = Found(
        group=slo.service,
        title=title,
        place=at.place,
        source=source,
        objective=own or percent,
        window=slo.window,
        alerts=slo.alerts,
        description=harvesting.one_line(slo.spec["description"].text),
        owner=slo.owner,
        changes=(*changes, *slo.changes),
    )
    run.harvest.found.append(found)
    return found


def _target(run: Objects, at: Cursor, title: str) -> Decimal | None:
    if at["targetPercent"]:
        return harvesting.objective(run.harvest, at["targetPercent"], title, at["targetPercent"].text)
    if not harvesting.is_there(run.harvest, at["target"], title, "target"):
        return None
    return harvesting.objective(run.harvest, at["target"], title, at["target"].text, times=100)


_Read = tuple[Source, tuple[Change, ...], Decimal | None]
"""A source, what changed, and an objective that comes from the query itself."""


def _own_indicator(at: Cursor) -> bool:
    return any(at[key] for key in ("indicator", "indicatorRef", "sli", "sliRef"))


def _indicator(run: Objects, slo: _Slo, at: Cursor, title: str, indicated: Cursor) -> _Read | None:
    """What an objective counts: `indicated` is where its indicator is written, or named."""
    if at["ratioMetrics"]:
        return _caught(run, title, at["ratioMetrics"], lambda: _ratio(run, at["ratioMetrics"], title))
    spec = _indicator_spec(run, indicated, title)
    if not spec:
        return None
    if spec["ratioMetric"]:
        return _caught(run, title, spec["ratioMetric"], lambda: _ratio(run, spec["ratioMetric"], title))
    if spec["thresholdMetric"]:
        return _caught(run, title, spec["thresholdMetric"], lambda: _threshold(run, spec["thresholdMetric"], at, title))
    run.harvest.refuse("I103", spec.place, f"{title}: an SLI needs `ratioMetric` or `thresholdMetric`.", "Add one.")
    return None


def _indicator_spec(run: Objects, indicated: Cursor, title: str) -> Cursor:
    reference = indicated["indicatorRef"] or indicated["sliRef"]
    if reference:
        return run.lookup("SLI", reference.text, reference, title)["spec"]
    inline = indicated["indicator"] or indicated["sli"]
    if not inline:
        run.harvest.refuse("I103", indicated.place, f"{title}: nothing says what is counted.", "Add `indicator`.")
        return inline
    return inline["spec"] or inline


class _Faulty(Exception):
    """A query that is refused, with its place and code."""

    def __init__(self, at: Cursor, why: Unprovable, code: str = "I106") -> None:
        super().__init__(why.message)
        self.at = at
        self.why = why
        self.code = code


def _caught(run: Objects, title: str, at: Cursor, read: Callable[[], _Read]) -> _Read | None:
    try:
        return read()
    except _Faulty as fault:
        run.harvest.refuse(fault.code, fault.at.place, f"{title}: {fault.why.message}.", fault.why.advice)
    except Unprovable as why:
        run.harvest.unprovable(at.place, title, why)
    return None


def _ratio(run: Objects, at: Cursor, title: str) -> _Read:
    if at["raw"]:
        part: Part = "bad" if at["rawType"].text == "failure" else "good"
        return _raw(run, at["raw"], part, title)
    kinds: list[Part] = [part for part in _PARTS if at[part]]
    if not kinds or not at["total"]:
        message = f"`ratioMetric` needs `total` and one of `good` and `bad`; it has {', '.join(at.keys)[:80]}"
        raise _Faulty(at, Unprovable(message, "Give these two, or `raw`."), "I103")
    counts = at["counter"].flag is not False
    counted, total = (_counted(run, at[key], title, counts) for key in (kinds[0], "total"))
    changes = query_changes(counted.per, (*counted.dropped, *total.dropped), (*counted.grouped, *total.grouped))
    return ratio(kinds[0], counted, total), (*changes, *_own_range(counted)), None


_PARTS: tuple[Part, ...] = ("good", "bad")


def _counted(run: Objects, at: Cursor, title: str, counts: bool) -> Events:
    query = _query(run, at, title)
    try:
        found = events(query.text, bare_counters=True)
    except Unprovable as why:
        raise _Faulty(query, why) from None
    if found.per == "ever" and not counts:
        message = "`counter: false` says that every point is events of its own; Prometheus would add each scrape again"
        raise _Faulty(query, Unprovable(message, "Use a counter, and `counter: true`."))
    return found


def _own_range(found: Events) -> list[Change]:
    span = found.terms[0].seconds
    if found.per == "ever" or span == WINDOW_SECONDS:
        return []
    text = f"the range of {duration(span)} in the query is replaced by that of each window."
    return [Change("counting", text)]


def _query(run: Objects, at: Cursor, title: str) -> Cursor:
    """The PromQL of a metric, in the words of any version."""
    source = at["metricSource"] or at
    kind = source["type"].text or _source_type(run, source)
    if kind and kind.lower() not in ("prometheus", "promql", "mimir", "thanos", "cortex", "victoriametrics"):
        why = Unprovable(f"a query for {kind[:40]} is not PromQL", "Write what it counts as PromQL.")
        raise _Faulty(source, why)
    spec = source["spec"] or source
    for key in _QUERY_KEYS:
        if spec[key]:
            return spec[key]
    raise _Faulty(source, Unprovable("there is no query", f"Write it as `{_QUERY_KEYS[0]}`."), "I103")


def _source_type(run: Objects, source: Cursor) -> str:
    """The type of the data source that a metric names, if it is in these files or, as in v1alpha, its only name."""
    if source["source"]:
        return "promql" if source["queryType"].text.lower() == "promql" else source["source"].text
    name = source["metricSourceRef"].text or source["dataSourceRef"].text
    known = run.named.get(("DataSource", name))
    return (known["spec"]["type"].text if known else "") or source["dataSourceSpec"]["type"].text


def _raw(run: Objects, at: Cursor, part: Part, title: str) -> _Read:
    """A share of which each point weighs the same: the mean over the window says so in PromQL."""
    query = _query(run, at, title)
    try:
        source, changes = share_source(part, query.text, bare_counters=True)
    except Unprovable:
        try:
            node = parsed(query.text)
            inside = f"{query.text}[{{{{.window}}}}" if type(node).__name__ == "VectorSelector" else ""
            mean = f"avg_over_time({inside}])" if inside else f"avg_over_time(({query.text})[{{{{.window}}}}:1m])"
            source, changes = share_source(part, mean)
        except Unprovable as why:
            raise _Faulty(query, why) from None
    return source, tuple(changes), None


# -- thresholds


def _threshold(run: Objects, at: Cursor, objective: Cursor, title: str) -> _Read:
    """A value and a limit: a probe, or a quantile of a latency; anything else has no events to count."""
    query = _query(run, at, title)
    operator, limit = objective["op"].text, objective["value"].text
    node = parsed(query.text)
    probe = _as_probe(node, operator, limit)
    if probe is not None:
        text = "each sample of the gauge counts as one event."
        return probe, (Change("counting", text),), None
    quantile = _as_latency(node, operator, limit)
    if quantile is None:
        message = f"a threshold (`{query.text[:80]}` {operator} {limit}) has no events to count"
        advice = "For latencies count the requests within a bound: `histogram` and `within`. For anything else record "
        raise _Faulty(query, Unprovable(message, advice + "1 where it holds and 0 where not, and use `probe`."), "I111")
    source, share = quantile
    held = objective["target"].text or objective["targetPercent"].text
    text = f"a quantile over a limit became requests within it: {share} % of all requests of the window take at most "
    text += (
        f"{source.within_milliseconds} ms, which must be a bucket. Theirs asks that the quantile is below for a share "
    )
    text += f"of {held} of the time: that share is dropped, the quantile is the objective."
    return source, (Change("objective", text),), share


def _as_probe(node: Any, operator: str, limit: str) -> Probe | None:
    if type(node).__name__ != "VectorSelector" or node.name not in ZERO_OR_ONE:
        return None
    value = harvesting.decimal(limit)
    holds = value is not None and ((operator == "gte" and 0 < value <= 1) or (operator == "gt" and 0 <= value < 1))
    return Probe(counter(node)) if holds else None


def _as_latency(node: Any, operator: str, limit: str) -> tuple[Latency, Decimal] | None:
    """`histogram_quantile(0.95, … rate(x_bucket[5m]) …)` at most so many seconds."""
    if type(node).__name__ != "Call" or node.func.name != "histogram_quantile" or operator not in ("lt", "lte"):
        return None
    share, buckets, span = getattr(node.args[0], "val", None), selectors(node.args[1]), milliseconds(limit)
    if share is None or span is None or len(buckets) != 1 or not buckets[0].name.endswith("_seconds_bucket"):
        return None
    percent = (Decimal(repr(share)) * 100).normalize() + 0
    histogram = Counter(buckets[0].name.removesuffix("_bucket"), buckets[0].matchers)
    fits = harvesting.LOWEST <= percent <= harvesting.HIGHEST
    return (Latency(histogram, span), percent) if fits else None


# -- composites


def _composite(run: Objects, slo: _Slo, objectives: Sequence[Cursor]) -> None:
    """Each objective is one of its own; read as one where they weigh the same and count events."""
    titles = _titles(slo.name, objectives)
    parts = [_objective(run, slo, at, title, at) for at, title in zip(objectives, titles, strict=True)]
    read = [part for part in parts if part is not None]
    weights = {harvesting.decimal(at["compositeWeight"].text or "1") for at in objectives}
    counted = all(isinstance(part.source, Ratio | Latency) for part in read)
    if len(weights) > 1:
        message = (
            f"{slo.name}: parts of different weights ({_weights(objectives)}) cannot be read as one; its parts are "
        )
        advice = "Here parts are weighed by their events: leave `compositeWeight` out, or watch the parts alone."
        run.harvest.refuse("I112", slo.spec["objectives"].place, message + "imported alone.", advice)
    elif len(read) < len(parts) or not counted:
        message = f"{slo.name}: not all of its parts count events, so that they cannot be added up."
        run.harvest.refuse("I112", slo.spec["objectives"].place, message, "The parts that could be read are imported.")
    else:
        of = tuple(part.origin for part in read)
        text = harvesting.one_line(slo.spec["description"].text)
        run.harvest.together.append(Together(slo.service, slo.name, slo.spec.place, of, text))


def _weights(objectives: Sequence[Cursor]) -> str:
    return ", ".join(at["compositeWeight"].text[:20] or "1" for at in objectives)
