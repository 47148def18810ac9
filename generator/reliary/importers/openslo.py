"""OpenSLO v1alpha, v1 and v2alpha: SLO, SLI, AlertPolicy and AlertCondition, with references between files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from reliary import zones
from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.events import Events, events
from reliary.importers.found import Alerts, Change, Found, Harvest, Together, Window
from reliary.importers.promqltext import WINDOW_SECONDS, Counter, Unprovable, counter, parsed, selectors
from reliary.importers.sloth import query_changes, share_source
from reliary.importers.sources import ZERO_OR_ONE, Latency, Part, Probe, Ratio, Source, milliseconds, ratio
from reliary.model import BurnSeverity, BurnTier
from reliary.names import duration
from reliary.windows import KEEP_FIRING_SECONDS

_VERSION = re.compile(r"openslo(?:\.com)?/(v1alpha|v1|v2alpha)")
_KINDS = ("SLI", "AlertPolicy", "AlertCondition", "DataSource", "Service", "AlertNotificationTarget")
_PAGES = {"page", "critical", "high", "p1", "sev1", "1"}
_TICKETS = {"ticket", "warning", "medium", "low", "p2", "p3", "sev2", "sev3", "2", "3"}
_ROLLING_DAYS = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
_UNITS = {"Day": "d", "Week": "w", "Month": "M", "Quarter": "Q", "Year": "Y", "Second": "s"}
_QUERY_KEYS = ("query", "promql", "promQL", "expr")


@dataclass(slots=True)
class _Import:
    """All files together: a reference may point into another one."""

    harvest: Harvest = field(default_factory=Harvest)
    named: dict[tuple[str, str], Cursor] = field(default_factory=dict)

    def lookup(self, kind: str, name: str, at: Cursor, who: str) -> Cursor:
        """The object of that kind and name; where there is none, a problem is added and nothing is there."""
        known = self.named.get((kind, name))
        if known is None:
            message = f"{who}: there is no {kind} `{name[:80]}` in these files."
            self.harvest.refuse("I109", at.place, message, "Import it together with the file that defines it.")
            return Cursor(None, at.place)
        return known


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
    run = _Import()
    slos = [each for each in objects if _is_slo(run, each)]
    for each in slos:
        _slo(run, each)
    sources = sum(1 for kind, _ in run.named if kind == "DataSource")
    if sources:
        text = f"{sources} DataSource left out: Prometheus is where the definitions run."
        run.harvest.notes.append(text)
    if any(kind == "AlertNotificationTarget" for kind, _ in run.named):
        run.harvest.notes.append("AlertNotificationTargets are left out: write `receivers` and `routes`.")
    return run.harvest


def _is_slo(run: _Import, each: Cursor) -> bool:
    """True for an SLO. Objects that others refer to are kept, anything else is refused."""
    version, kind, name = each["apiVersion"].text, each["kind"].text, each["metadata"]["name"].text
    if not _VERSION.fullmatch(version):
        what = f"{version} {kind}".strip()[:80] or "an object without a version"
        advice = "openslo/v1alpha, openslo/v1 and openslo.com/v2alpha can be imported; try another importer."
        run.harvest.refuse("I102", each.place, f"{what} is not a version of OpenSLO that is read.", advice)
        return False
    if kind == "SLO":
        return True
    if kind not in _KINDS:
        run.harvest.refuse("I102", each.place, f"OpenSLO's kind `{kind[:80]}` is not read.", "Leave it out.")
    elif (kind, name) in run.named:
        run.harvest.refuse("I109", each.place, f"{kind} `{name}` is defined twice.", "Keep one of the two.")
    else:
        run.named[kind, name] = each
    return False


def _slo(run: _Import, each: Cursor) -> None:
    name, spec = each["metadata"]["name"].text, each["spec"]
    if not harvesting.is_there(run.harvest, each["metadata"]["name"], "an SLO", "metadata.name"):
        return
    fine = _budgeting(run, name, spec)
    window, changes = _window(run, name, spec)
    if window is None or not fine:
        return
    alerts, of_alerts = _alerts(run, name, spec, window)
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
    return [f"{name}-{word or at}" for at, word in enumerate(words, 1)]


def _budgeting(run: _Import, name: str, spec: Cursor) -> bool:
    method = spec["budgetingMethod"]
    if method.text in ("", "Occurrences"):
        return True
    message = f"{name}: the budgeting method `{method.text[:40]}` counts time slices; here events are counted."
    advice = "Change it to Occurrences (what changes: a minute with more requests weighs more), or keep a gauge that "
    advice += "is 1 in a good slice and import that as `probe`."
    run.harvest.refuse("I110", method.place, message, advice)
    return False


# -- objectives


def _objective(run: _Import, slo: _Slo, at: Cursor, title: str, indicated: Cursor) -> Found | None:
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


def _target(run: _Import, at: Cursor, title: str) -> Decimal | None:
    if at["targetPercent"]:
        return harvesting.objective(run.harvest, at["targetPercent"], title, at["targetPercent"].text)
    if not harvesting.is_there(run.harvest, at["target"], title, "target"):
        return None
    return harvesting.objective(run.harvest, at["target"], title, at["target"].text, times=100)


_Read = tuple[Source, tuple[Change, ...], Decimal | None]
"""A source, what changed, and an objective that comes from the query itself."""


def _own_indicator(at: Cursor) -> bool:
    return any(at[key] for key in ("indicator", "indicatorRef", "sli", "sliRef"))


def _indicator(run: _Import, slo: _Slo, at: Cursor, title: str, indicated: Cursor) -> _Read | None:
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


def _indicator_spec(run: _Import, indicated: Cursor, title: str) -> Cursor:
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


def _caught(run: _Import, title: str, at: Cursor, read: Callable[[], _Read]) -> _Read | None:
    try:
        return read()
    except _Faulty as fault:
        run.harvest.refuse(fault.code, fault.at.place, f"{title}: {fault.why.message}.", fault.why.advice)
    except Unprovable as why:
        run.harvest.unprovable(at.place, title, why)
    return None


def _ratio(run: _Import, at: Cursor, title: str) -> _Read:
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


def _counted(run: _Import, at: Cursor, title: str, counts: bool) -> Events:
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


def _query(run: _Import, at: Cursor, title: str) -> Cursor:
    """The PromQL of a metric, in the words of any version."""
    source = at["metricSource"] or at
    kind = source["type"].text or source["queryType"].text or _source_type(run, source)
    if kind and kind.lower() not in ("prometheus", "promql", "mimir", "thanos", "cortex", "victoriametrics"):
        why = Unprovable(f"a query for {kind[:40]} is not PromQL", "Write what it counts as PromQL.")
        raise _Faulty(source, why)
    spec = source["spec"] or source
    for key in _QUERY_KEYS:
        if spec[key]:
            return spec[key]
    raise _Faulty(source, Unprovable("there is no query", f"Write it as `{_QUERY_KEYS[0]}`."), "I103")


def _source_type(run: _Import, source: Cursor) -> str:
    """The type of the data source that a metric names, if it is in these files."""
    name = source["metricSourceRef"].text or source["dataSourceRef"].text
    known = run.named.get(("DataSource", name))
    return (known["spec"]["type"].text if known else "") or source["dataSourceSpec"]["type"].text


def _raw(run: _Import, at: Cursor, part: Part, title: str) -> _Read:
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


def _threshold(run: _Import, at: Cursor, objective: Cursor, title: str) -> _Read:
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
    value = _decimal(limit)
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


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


# -- composites


def _composite(run: _Import, slo: _Slo, objectives: Sequence[Cursor]) -> None:
    """Each objective is one of its own; read as one where they weigh the same and count events."""
    titles = _titles(slo.name, objectives)
    parts = [_objective(run, slo, at, title, at) for at, title in zip(objectives, titles, strict=True)]
    read = [part for part in parts if part is not None]
    weights = {_decimal(at["compositeWeight"].text or "1") for at in objectives}
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


# -- windows


def _window(run: _Import, name: str, spec: Cursor) -> tuple[Window | None, list[Change]]:
    listed = (spec["timeWindow"] or spec["timeWindows"]).items()
    if len(listed) != 1:
        message = f"{name}: an SLO has one time window; this has {len(listed)}."
        run.harvest.refuse("I103", spec.place, message, "Give one `timeWindow`.")
        return None, []
    at = listed[0]
    count, unit = _length(at)
    rolls = at["isRolling"].flag
    if not count:
        shown = at["duration"].text or f"{at['count'].text} {at['unit'].text}".strip()
        run.harvest.refuse(
            "I105", at.place, f"{name}: `{shown[:40]}` is no time window.", "Write a duration such as 28d."
        )
        return None, []
    if rolls or (rolls is None and not at["calendar"]):
        return _rolling(run, name, at, count, unit)
    return _calendar(run, name, at, count, unit), []


def _length(at: Cursor) -> tuple[int, str]:
    """Number and unit of a window; 0 where they cannot be read."""
    if at["unit"]:
        text, unit = at["count"].text, _UNITS.get(at["unit"].text, "")
        return (int(text), unit) if text.isdigit() and len(text) < 7 and unit else (0, "")
    match = re.fullmatch(r"([0-9]{1,6})([mhdwMQY])", at["duration"].text)
    return (int(match[1]), match[2]) if match else (0, "")


def _rolling(run: _Import, name: str, at: Cursor, count: int, unit: str) -> tuple[Window | None, list[Change]]:
    span = count * _ROLLING_DAYS.get(unit, 0) * harvesting.DAY
    window = harvesting.rolling(run.harvest, at.place, name, duration(span) if span else f"{count}{unit}")
    if window is None or unit not in ("M", "Q"):
        return window, []
    return window, [Change("window", f"a rolling window of {count}{unit} became {window.text}.")]


def _calendar(run: _Import, name: str, at: Cursor, count: int, unit: str) -> Window | None:
    kind = {(1, "M"): "month", (3, "M"): "quarter", (1, "Q"): "quarter"}.get((count, unit), "")
    if not kind:
        message = f"{name}: a calendar window of {count}{unit} is refused; months and quarters can be imported."
        run.harvest.refuse("I105", at.place, message, "Use a rolling window, or `1M` or `1Q`.")
        return None
    start, zone = at["calendar"]["startTime"], at["calendar"]["timeZone"]
    months = "(?:0[147]|10)" if kind == "quarter" else "[01][0-9]"
    if not re.fullmatch(rf"[0-9]{{4}}-{months}-01(?:[ T]00:00(?::00)?Z?)?", start.text):
        message = f"{name}: the {kind} starts at `{start.text[:40]}`; here it starts on the first at midnight."
        advice = "Use the first of the month (of January, April, July or October for a quarter), 00:00:00."
        run.harvest.refuse("I105", start.place, message, advice)
        return None
    if zones.zone(zone.text or "UTC") is None:
        message = f"{name}: there is no time zone `{zone.text[:40]}`."
        run.harvest.refuse("I105", zone.place, message, "Write an IANA name, such as Europe/Berlin.")
        return None
    return Window(0, kind, zone.text or "UTC")


# -- alerts


def _alerts(run: _Import, name: str, spec: Cursor, window: Window) -> tuple[Alerts, list[Change]]:
    policies = spec["alertPolicies"].items()
    if not policies:
        text = "no alert policy, so no alert: remove `alerts: none` for page and ticket by burn rate."
        return Alerts(off=True), [Change("alerts", text)]
    rows: list[BurnTier] = []
    changes: list[Change] = []
    for condition, policy in _conditions(run, name, policies):
        if policy["alertWhenNoData"].flag:
            text = (
                "alertWhenNoData is not carried over: a tenant without data has the state `no data`, which shows and "
            )
            changes.append(Change("alerts", text + "does not page."))
        row = _row(run, name, condition, window, rows)
        if row is not None:
            rows.append(row)
    if not rows:
        text = "none of its alert policies could be imported; it has our page and ticket by burn rate in their place."
        return Alerts(), [*changes, Change("alerts", text)]
    shown = ", ".join(f"{duration(row.long_seconds)} with {duration(row.short_seconds)}" for row in rows)
    text = f"each condition has a second, short window (a twelfth: {shown}): the alert ends soon after the errors do."
    return Alerts(rows=tuple(rows)), [*changes, Change("alerts", text)]


def _conditions(run: _Import, name: str, policies: Sequence[Cursor]) -> Iterator[tuple[Cursor, Cursor]]:
    """The specs of conditions with those of their policies, whether they are written or named."""
    for policy in policies:
        reference = policy["alertPolicyRef"] or (policy if policy.text else policy["alertPolicyRef"])
        whole = run.lookup("AlertPolicy", reference.text, reference, name) if reference else policy
        for condition in whole["spec"]["conditions"].items():
            named = condition["conditionRef"]
            found = run.lookup("AlertCondition", named.text, named, name) if named else condition
            if found:
                yield found["spec"], whole["spec"]


def _row(run: _Import, name: str, spec: Cursor, window: Window, others: Sequence[BurnTier]) -> BurnTier | None:
    condition = spec["condition"]
    long, after = (harvesting.seconds_of(condition[key].text) or 0 for key in ("lookbackWindow", "alertAfter"))
    factor, severity = _decimal(condition["threshold"].text), spec["severity"].text.lower()
    why = ""
    if condition["kind"].text.lower() != "burnrate":
        why = f"a condition of kind `{condition['kind'].text[:40]}`"
    elif condition["op"].text not in ("", "gt", "gte"):
        why = f"the operator `{condition['op'].text[:10]}`: a burn rate alerts when it is high"
    elif factor is None or not Decimal("0.01") <= factor <= 100_000:
        why = f"a threshold of `{condition['threshold'].text[:40]}`"
    elif not 360 <= long <= harvesting.window_seconds(window):
        why = f"a lookbackWindow of `{condition['lookbackWindow'].text[:40]}` (6m up to the SLO's own window will do)"
    elif any(row.long_seconds == long for row in others):
        why = f"a second condition over {duration(long)}: alerts are told apart by it"
    elif severity not in _PAGES | _TICKETS:
        why = f"the severity `{severity[:40]}` (page and ticket, or words such as critical and warning)"
    if why or factor is None:
        run.harvest.refuse("I108", condition.place, f"{name}: {why}.", "Write `alerts` with rows of your own.")
        return None
    kind: BurnSeverity = "page" if severity in _PAGES else "ticket"
    short = max(300, round(long / 12 / 60) * 60)
    return BurnTier(kind, long, short, Decimal(0), factor, after, KEEP_FIRING_SECONDS[kind])
