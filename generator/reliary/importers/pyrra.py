"""Pyrra: `pyrra.dev/v1alpha1 ServiceLevelObjective`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.events import Events, events
from reliary.importers.found import Alerts, Change, Found, Harvest
from reliary.importers.promqltext import Counter, Unprovable, counter, parsed
from reliary.importers.sloth import SPLIT
from reliary.importers.sources import Latency, Probe, Source, latency_of, ratio
from reliary.names import duration

_VERSION = "pyrra.dev/v1alpha1"
_KNOWN_ALERTING = {"disabled", "burnrates", "absent"}


@dataclass(frozen=True, slots=True)
class _Read:
    """What an indicator is here; `grouping` are the labels that it is split by."""

    source: Source
    grouping: tuple[str, ...]
    changes: tuple[Change, ...] = ()


def harvest(objects: Sequence[Cursor], tenant_label: str) -> Harvest:
    """The objectives of all objects, with problems."""
    gathered = Harvest()
    for each in objects:
        version, kind = each["apiVersion"].text, each["kind"].text
        if (version, kind) == (_VERSION, "ServiceLevelObjective"):
            _slo(gathered, each, tenant_label)
        else:
            what = f"{version} {kind}".strip()[:80] or "an object without a version"
            advice = f"Pyrra's files have `apiVersion: {_VERSION}`; try another importer, or leave the file out."
            gathered.refuse("I102", each.place, f"{what} is not a format of Pyrra.", advice)
    return gathered


def _slo(gathered: Harvest, each: Cursor, tenant_label: str) -> None:
    metadata, spec = each["metadata"], each["spec"]
    if not harvesting.is_there(gathered, metadata["name"], "a ServiceLevelObjective", "metadata.name"):
        return
    title = metadata["name"].text
    target = harvesting.objective(gathered, spec["target"], title, spec["target"].text)
    window = harvesting.rolling(gathered, spec["window"].place, title, spec["window"].text)
    read = _indicator(gathered, title, spec["indicator"])
    if target is None or window is None or read is None:
        return
    labels = metadata["labels"].texts()
    owner = harvesting.owner_of(labels, ("", "pyrra.dev/"))
    alerts, changes = _alerts(spec["alerting"])
    gathered.found.append(
        Found(
            group=metadata["namespace"].text,
            title=title,
            place=metadata["name"].place,
            source=read.source,
            objective=target,
            window=window,
            alerts=alerts,
            description=harvesting.one_line(spec["description"].text),
            owner=owner,
            changes=(
                *read.changes,
                *_grouping(read.grouping, tenant_label),
                *changes,
                *harvesting.dropped_labels(labels, owner, "labels"),
            ),
        )
    )


# -- indicators


def _indicator(gathered: Harvest, title: str, at: Cursor) -> _Read | None:
    kinds = {"ratio": _ratio, "latency": _latency, "latencyNative": _native, "bool_gauge": _bool_gauge}
    given = [kind for kind in kinds if at[kind]]
    if len(given) != 1:
        message = (
            f"{title}: `indicator` needs one of {', '.join(kinds)}; it has {', '.join(at.keys)[:80] or 'nothing'}."
        )
        gathered.refuse("I103", at.place, message, "Give exactly one.")
        return None
    try:
        return kinds[given[0]](at[given[0]])
    except _Faulty as fault:
        gathered.unprovable(fault.at.place, title, fault.why)
        return None


class _Faulty(Exception):
    """A query that is refused, with its place."""

    def __init__(self, at: Cursor, why: Unprovable) -> None:
        super().__init__(why.message)
        self.at = at
        self.why = why


def _selector(at: Cursor) -> Counter:
    """The metric that is written here: Pyrra takes plain selectors alone."""
    metric = at["metric"]
    if not metric:
        raise _Faulty(at, Unprovable("`metric` is missing", "Add it."))
    try:
        node = parsed(metric.text)
        if type(node).__name__ != "VectorSelector":
            raise Unprovable("`metric` is not a plain selector", "Write the series alone, with matchers or without.")
        return counter(node)
    except Unprovable as why:
        raise _Faulty(metric, why) from None


def _counted(at: Cursor) -> Events:
    found = _selector(at)
    try:
        return events(found.text, bare_counters=True)
    except Unprovable as why:
        raise _Faulty(at["metric"], why) from None


def _grouped(at: Cursor) -> tuple[str, ...]:
    return tuple(item.text for item in at["grouping"].items())


def _ratio(at: Cursor) -> _Read:
    bad, total = _counted(at["errors"]), _counted(at["total"])
    try:
        return _Read(ratio("bad", bad, total), _grouped(at))
    except Unprovable as why:
        raise _Faulty(at["errors"]["metric"], why) from None


def _latency(at: Cursor) -> _Read:
    bucket, total = _selector(at["success"]), _selector(at["total"])
    if bucket.value("le") is None:
        why = Unprovable('`success` has no matcher le="…", so nothing says what is fast', "Add the bucket's bound.")
        raise _Faulty(at["success"]["metric"], why)
    latency = latency_of(bucket, total)
    if latency is not None:
        return _Read(latency, _grouped(at), (_must_exist(latency),))
    text = (
        "kept as good and total counters: the two have different matchers, or the bound is not in whole milliseconds."
    )
    try:
        source = ratio("good", _counted(at["success"]), _counted(at["total"]))
    except Unprovable as why:
        raise _Faulty(at["success"]["metric"], why) from None
    return _Read(source, _grouped(at), (Change("counting", text),))


def _must_exist(latency: Latency) -> Change:
    bound = f"{latency.within_milliseconds} ms"
    text = (
        f"`within` must be a bucket that {latency.histogram.name} has: {bound}. Written as 1 or as 1.0, both are found."
    )
    return Change("counting", text)


def _native(at: Cursor) -> _Read:
    found = _selector(at["total"])
    span = _milliseconds(at["latency"].text)
    if span is None:
        raise _Faulty(at["latency"], Unprovable("`latency` is not a duration such as 200ms", "Write one."))
    return _Read(Latency(found, span, native=True), _grouped(at))


def _milliseconds(text: str) -> int | None:
    if text.endswith("ms") and text[:-2].isdigit():
        return int(text[:-2]) or None
    seconds = harvesting.seconds_of(text) if "ms" not in text else None
    return seconds * 1000 if seconds else None


def _bool_gauge(at: Cursor) -> _Read:
    text = "each sample of the gauge counts as one event, as it did there: twice as many scrapes weigh twice as much."
    return _Read(Probe(_selector(at)), _grouped(at), (Change("counting", text),))


def _grouping(labels: tuple[str, ...], tenant_label: str) -> list[Change]:
    """What to say of labels that the objective was split by; the tenant's own is what we split by as well."""
    others = [label for label in labels if label != tenant_label]
    if not others:
        return []
    names = ", ".join(f"`{label}`" for label in others)
    text = f"was split by {names}; here it is added up per tenant: {SPLIT}"
    if len(others) == 1 and len(labels) == 1:
        text += f" If `{others[0]}` is your tenant, import with --tenant-label {others[0]}."
    return [Change("tenants", text)]


# -- alerts


def _alerts(at: Cursor) -> tuple[Alerts, list[Change]]:
    off = at["disabled"].flag is True or at["burnrates"].flag is False
    changes = []
    if at["absent"].flag is not False and not off:
        text = "their SLOMetricAbsent is not made: it fires on a healthy service without an error series, and not "
        text += "when one tenant of several is gone. Here such a tenant has the state `no data`."
        changes.append(Change("alerts", text))
    others = [f"{key}={at[key].text}" if at[key].text else key for key in at.keys if key not in _KNOWN_ALERTING]
    if others:
        shown = harvesting.one_line(", ".join(others), 200)
        changes.append(Change("alerts", f"not carried over: {shown}. Here the alert is SloBudgetBurn."))
    return Alerts(off=off), changes


def their_factors(window_seconds: int) -> str:
    """Factors, windows and spent budget of the four alerts that Pyrra makes for a window."""
    rows = []
    for factor, long, short in ((14, 672, 8064), (7, 112, 1344), (2, 28, 336), (1, 7, 112)):
        spans = [max(60, round(window_seconds / part / 60) * 60) for part in (long, short)]
        spent = 100 * factor * spans[0] / window_seconds
        rows.append(f"{factor} over {duration(spans[0])} and {duration(spans[1])} ({spent:.3g} % of the budget)")
    return ", ".join(rows)
