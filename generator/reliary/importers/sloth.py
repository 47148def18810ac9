"""Sloth: `prometheus/v1`, its Kubernetes kind PrometheusServiceLevel, and AlertWindows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from reliary.importers import figures
from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.events import events
from reliary.importers.found import Alerts, Change, Found, Harvest, Window
from reliary.importers.promqltext import Unprovable, uses_window
from reliary.importers.sources import Part, Probe, Share, Source, drops_or_vector, ratio, share
from reliary.model import BurnSeverity, BurnTier
from reliary.names import duration
from reliary.windows import KEEP_FIRING_SECONDS, burn_tables

DEFAULT_PERIOD_SECONDS = 30 * harvesting.DAY
_KUBERNETES = "sloth.slok.dev/v1"
_SEVERITIES: tuple[BurnSeverity, ...] = ("page", "ticket")


@dataclass(slots=True)
class _Run:
    """One run of Sloth: its period holds for all objectives."""

    harvest: Harvest
    window: Window
    tables: dict[int, tuple[BurnTier, ...]] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[BurnTier, ...]:
        return self.tables.get(self.window.seconds, ())


def harvest(objects: Sequence[Cursor], period_seconds: int | None = None) -> Harvest:
    """The objectives of all objects, with problems. `period_seconds` is what Sloth was told on its command line."""
    run = _Run(Harvest(), Window(period_seconds or DEFAULT_PERIOD_SECONDS))
    services = [service for each in objects if (service := _spec(run, each)) is not None]
    _choose_period(run, period_seconds)
    for spec, labels in services:
        _without_plugins(run, spec["service"].text, _either(spec, "slo_plugins", "sloPlugins"))
        for slo in spec["slos"].items():
            _slo(run, spec, slo, labels)
        if not spec["slos"].items():
            run.harvest.refuse("I103", spec.place, "a service without `slos`.", "Add its objectives, or remove it.")
    return run.harvest


def _spec(run: _Run, each: Cursor) -> tuple[Cursor, dict[str, str]] | None:
    """The service level of an object with the labels of its metadata."""
    version, kind = each["version"].text, each["kind"].text
    if version == "prometheus/v1":
        return each, {}
    if each["apiVersion"].text == _KUBERNETES and kind == "PrometheusServiceLevel":
        return each["spec"], each["metadata"]["labels"].texts()
    if each["apiVersion"].text == _KUBERNETES and kind == "AlertWindows":
        _alert_windows(run, each["spec"])
        return None
    what = " ".join(filter(None, (each["apiVersion"].text or version, kind))) or "an object without a version"
    advice = "Sloth files have `version: prometheus/v1` or `apiVersion: sloth.slok.dev/v1`; "
    run.harvest.refuse("I102", each.place, f"{what[:80]} is not a format of Sloth.", advice + "try another importer.")
    return None


def _slo(run: _Run, spec: Cursor, slo: Cursor, metadata: dict[str, str]) -> None:
    service, title = spec["service"].text, slo["name"].text
    name = f"{service} / {title}"
    if not (harvesting.is_there(run.harvest, slo["name"], "an objective", "name") and _supported(run, name, slo)):
        return
    labels = {**metadata, **spec["labels"].texts(), **slo["labels"].texts()}
    owner = harvesting.owner_of(labels)
    percent = harvesting.objective(run.harvest, slo["objective"], name, slo["objective"].text)
    source, changes = _source(run, name, slo["sli"])
    if source is None or percent is None:
        return
    alerting = slo["alerting"]
    run.harvest.found.append(
        Found(
            group=service,
            title=title,
            place=slo.place,
            source=source,
            objective=percent,
            window=run.window,
            alerts=_alerts(run, alerting),
            description=harvesting.one_line(slo["description"].text),
            owner=owner,
            changes=(*changes, *harvesting.dropped_labels(labels, owner, "labels"), *_dropped_alerting(alerting)),
        )
    )


def _either(at: Cursor, snake: str, camel: str) -> Cursor:
    """Files write keys in one way, Kubernetes objects in the other."""
    return at[snake] or at[camel]


def _supported(run: _Run, name: str, slo: Cursor) -> bool:
    """False after a problem: plugins are programs, and what they do cannot be seen in the file."""
    plugin = slo["sli"]["plugin"]
    if plugin:
        message = f"{name}: the SLI plugin `{plugin['id'].text[:80]}` is a program that writes queries."
        advice = "Run Sloth once and import its error and total queries as `events`."
        run.harvest.refuse("I107", plugin.place, message, advice)
        return False
    if not slo["sli"]:
        run.harvest.refuse("I103", slo.place, f"{name}: `sli` is missing.", "Add it.")
        return False
    _without_plugins(run, name, slo["plugins"])
    return True


def _without_plugins(run: _Run, name: str, plugins: Cursor) -> None:
    ids = ", ".join(dict.fromkeys(each["id"].text[:80] for each in plugins["chain"].items()))
    if ids:
        run.harvest.notes.append(f"{name}: the SLO plugins {ids} are left out; they rewrite Sloth's rules, not ours.")


def _source(run: _Run, name: str, sli: Cursor) -> tuple[Source | None, list[Change]]:
    if sli["events"]:
        return _events(run, name, sli["events"])
    if sli["raw"]:
        return _raw(run, name, sli["raw"])
    kinds = ", ".join(sli.keys) or "nothing"
    run.harvest.refuse("I103", sli.place, f"{name}: an SLI needs `events` or `raw`; it has {kinds[:80]}.", "Add one.")
    return None, []


def _events(run: _Run, name: str, at: Cursor) -> tuple[Source | None, list[Change]]:
    bad, total = _either(at, "error_query", "errorQuery"), _either(at, "total_query", "totalQuery")
    there = [
        harvesting.is_there(run.harvest, each, name, key)
        for each, key in ((bad, "error_query"), (total, "total_query"))
    ]
    if not all(there):
        return None, []
    place = bad.place
    try:
        counted = events(bad.text)
        place = total.place
        of = events(total.text)
        source = ratio("bad", counted, of)
    except Unprovable as why:
        run.harvest.unprovable(place, name, why)
        return None, []
    return source, [*query_changes(counted.per, (*counted.dropped, *of.dropped), (*counted.grouped, *of.grouped))]


def query_changes(per: str, dropped: Sequence[str], grouped: Sequence[str]) -> list[Change]:
    """What to say of queries that became counts."""
    changes = []
    if per == "second":
        text = "`rate` became `increase`: the share of two rates over one window is the share of the counts in it."
        changes.append(Change("counting", text))
    changes += [Change("counting", f"dropped {text}.") for text in dict.fromkeys(dropped)]
    if grouped:
        names = ", ".join(f"`{label}`" for label in dict.fromkeys(grouped))
        changes.append(Change("tenants", f"was split by {names}; here it is added up per tenant: {SPLIT}"))
    return changes


SPLIT = "one budget for a tenant, not one for each value."


def _raw(run: _Run, name: str, at: Cursor) -> tuple[Source | None, list[Change]]:
    query = _either(at, "error_ratio_query", "errorRatioQuery")
    if not harvesting.is_there(run.harvest, query, name, "error_ratio_query"):
        return None, []
    try:
        return share_source("bad", query.text)
    except Unprovable as why:
        run.harvest.unprovable(query.place, name, why)
        return None, []


def share_source(part: Part, query: str, *, bare_counters: bool = False) -> tuple[Source, list[Change]]:
    """What a query that gives a share is here, and what to say of it. Raises `Unprovable`."""
    source = share(part, query, bare_counters=bare_counters)
    dropped = drops_or_vector(query)
    changes = [Change("counting", f"dropped {dropped}.")] if dropped else []
    if isinstance(source, Probe):
        text = "the mean of a gauge that is 1 or 0 became a probe: each sample is an event."
        return source, [*changes, Change("counting", text)]
    if not isinstance(source, Share):
        text = "a ready-made share became the counts that it was divided from, so that budgets weigh events."
        return source, [*changes, Change("counting", text)]
    if not uses_window(query):
        message = "the query gives one share, whatever the window"
        raise Unprovable(message, "Use {{.window}} in it, as in avg_over_time(x[{{.window}}]).")
    source.keys("tenant_id")
    text = "a share without counts: each minute weighs the same, and the guard of alerts counts minutes, not events."
    return source, [*changes, Change("budget", text)]


# -- alerts


def _alerts(run: _Run, at: Cursor) -> Alerts:
    off = tuple(
        severity
        for severity in _SEVERITIES
        if _either(at, f"{severity}_alert", f"{severity}Alert")["disable"].flag is True
    )
    return Alerts(off=True) if len(off) == 2 else Alerts(rows=run.rows, without=off)


def _dropped_alerting(at: Cursor) -> list[Change]:
    said = [key for key in ("name", "labels", "annotations") if at[key]]
    for severity in _SEVERITIES:
        alert = _either(at, f"{severity}_alert", f"{severity}Alert")
        said += [f"{severity} {key}" for key in ("labels", "annotations") if alert[key]]
    if not said:
        return []
    text = f"not carried over: {', '.join(said)} of the alerts. Here the alert is SloBudgetBurn with slo, "
    return [Change("alerts", text + "severity, burn and owner; `routes` send it, runbooks are written for you.")]


def _alert_windows(run: _Run, spec: Cursor) -> None:
    """A table of burn rates for one period."""
    period = harvesting.seconds_of(spec["sloPeriod"].text)
    if period is None:
        run.harvest.refuse("I108", spec.place, "AlertWindows without a `sloPeriod` such as 28d.", "Add it.")
        return
    if harvesting.rolling(run.harvest, spec["sloPeriod"].place, "AlertWindows", spec["sloPeriod"].text) is None:
        return
    if period in run.tables:
        message = f"a second AlertWindows for {duration(period)}."
        run.harvest.refuse("I108", spec.place, message, "Import with one of the two.")
        return
    rows = [
        _row(run, spec[severity][speed], severity, f"{severity}.{speed}", period)
        for severity in _SEVERITIES
        for speed in ("quick", "slow")
    ]
    whole = [row for row in rows if row is not None]
    if len({row.long_seconds for row in whole}) < len(whole):
        message = "two rows have the same long window, which is how alerts are told apart here."
        run.harvest.refuse("I108", spec.place, message, "Give each its own long window.")
    elif len(whole) == len(rows):
        run.tables[period] = tuple(whole)


def _row(run: _Run, at: Cursor, severity: BurnSeverity, name: str, period: int) -> BurnTier | None:
    long = harvesting.seconds_of(at["longWindow"].text)
    short = harvesting.seconds_of(at["shortWindow"].text)
    try:
        share = Decimal(at["errorBudgetPercent"].text) / 100
    except ArithmeticError:
        share = Decimal(0)
    if not long or not short or short >= long or long > period or not 0 < share <= 1:
        message = f"AlertWindows: `{name}` needs errorBudgetPercent, and a shortWindow below its longWindow."
        run.harvest.refuse("I108", at.place, message, "Correct it, then import again.")
        return None
    factor = (share * period / long).quantize(Decimal("0.0001")).normalize()
    return BurnTier(severity, long, short, share, factor, 0, KEEP_FIRING_SECONDS[severity])


def _choose_period(run: _Run, told: int | None) -> None:
    """One AlertWindows and no other word: its period is the one that Sloth ran with."""
    if told is None and len(run.tables) == 1:
        run.window = Window(next(iter(run.tables)))
    if run.tables and run.window.seconds not in run.tables:
        periods = ", ".join(duration(period) for period in run.tables)
        run.harvest.notes.append(
            f"AlertWindows for {periods} are not used: the period is {run.window.text} (--window)."
        )


def their_factors(window_seconds: int) -> str:
    """Factors of Sloth's own table where they are not ours: it has the same shares of the budget, and no least one."""
    table = [(tier, tier.budget_share * window_seconds / tier.long_seconds) for tier in burn_tables()["google"]]
    if all(factor >= 1 for _, factor in table):
        return ""
    shown = ", ".join(f"{figures.short(factor)} over {duration(tier.long_seconds)}" for tier, factor in table)
    return f"{shown}: below 1 an alert fires while the objective is still met"
