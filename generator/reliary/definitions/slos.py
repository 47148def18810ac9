"""SLO classes: what they count, their objectives, windows and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, cast

from reliary import windows, zones
from reliary.definitions.counts import ratio
from reliary.definitions.queries import gauge, histogram, share
from reliary.definitions.root import Root
from reliary.definitions.shapes import Fields, listed
from reliary.model import BurnGuard, BurnTier, Calendar, Composite, Latency, Probe, RawRatio, Slo, Source
from reliary.names import duration
from reliary.problems import Place

OWN_TABLE = "its own burn-rate table"
NOMINAL_SECONDS = {"month": 30 * 86400, "quarter": 91 * 86400}
"""Lengths that the factors of burn rates are computed with."""


def slos(root: Root) -> tuple[Slo, ...]:
    """The SLO classes that could be read. Objectives of single tenants are checked here as well."""
    found = tuple(slo for record in root.records("slos") if (slo := _slo(root, *record)) is not None)
    _own_objectives(root, found)
    return found


def composites(root: Root, classes: tuple[Slo, ...]) -> tuple[Composite, ...]:
    """The composites whose SLOs exist and share one window."""
    records = root.records("composites")
    return tuple(found for record in records if (found := _composite(root, *record, classes)) is not None)


def zone_name(root: Root, row: Fields) -> str:
    """The zone of a record, UTC unless said. A problem is added for one that does not exist."""
    name = row.maybe("zone", str) or "UTC"
    if zones.zone(name) is None:
        # No abbreviations: for CEST the nearest would be EST, seven hours away.
        nearest = root.faults.guess(name, [known for known in zones.names() if "/" in known])
        advice = f"Did you mean `{nearest}`?" if nearest else "Write an IANA name, such as Europe/Berlin."
        root.faults.add("B130", row.at("zone"), f"there is no time zone `{name}`.", advice)
        return "UTC"
    return name


def _slo(root: Root, name: str, place: Place, row: Fields) -> Slo | None:
    objectives = _objectives(root, row)
    source = _source(root, place, row)
    calendar = _calendar(root, row)
    alerts = _alerts(root, row)
    if source is None or "default" not in objectives or alerts is None:
        return None
    slo = Slo(
        name=name,
        description=row.maybe("description", str) or name,
        source=source,
        default=objectives["default"][0],
        by_tier=tuple((tier, value) for tier, (value, _) in objectives.items() if tier != "default"),
        window_seconds=NOMINAL_SECONDS[calendar.unit] if calendar else row.get("window", int),
        burn=alerts.tiers,
        owner=row.maybe("owner", str) or "unowned",
        calendar=calendar,
        exact=row.maybe("exact", bool) or False,
        guard=alerts.guard,
    )
    _fits(root, slo, alerts, row)
    for value, at in objectives.values():
        _reachable(root, slo, value, at)
    return slo


def _fits(root: Root, slo: Slo, alerts: _Alerts, row: Fields) -> None:
    root.retained(windows.reach(slo), row.at("window"))
    _short_windows(root, slo, alerts.table)
    for tier in slo.burn:
        if tier.long_seconds > slo.window_seconds:
            message = f"the alert over {duration(tier.long_seconds)} looks further back than the SLO itself."
            root.faults.add(
                "B113", row.at("alerts"), message, "Choose a shorter `long` in that row, or remove the row."
            )
    if slo.exact and any(_leaves_out(window, slo.name) for _, _, window in root.records("maintenance")):
        message = "an `exact` class cannot leave out planned windows: its counters know nothing of them."
        root.faults.add("B134", row.at("exact"), message, "Remove `exact`, or let the window count against the SLA.")


def _leaves_out(window: Fields, slo: str) -> bool:
    """True for a planned window whose events cost this SLO no budget."""
    only = [item.value for item in window.items("slos", str)]
    return window.maybe("counts_against_sla", bool) is not True and (not only or slo in only)


def _calendar(root: Root, row: Fields) -> Calendar | None:
    unit = row.values["window"].value
    if isinstance(unit, int):
        if row.has("zone"):
            message = "a rolling window has no time zone: it starts anew at every moment."
            root.faults.add("B112", row.at("zone"), message, "Remove `zone`, or write `window: month`.")
        return None
    return Calendar(cast(Literal["month", "quarter"], unit), zone_name(root, row))


# -- objectives


def _objectives(root: Root, row: Fields) -> dict[str, tuple[Decimal, Place]]:
    """Objective and its place by tier, with `default`."""
    return _by_tier(root, row, "objective", "it holds for tenants that are in no list")


def _by_tier(root: Root, row: Fields, key: str, default: str) -> dict[str, tuple[Decimal, Place]]:
    """A number and its place by tier, with `default`, from one number or from a map."""
    value = row.values[key].value
    if isinstance(value, Decimal):
        return {"default": (value, row.at(key))}
    names = root.names("tiers")
    known = None if names is None else names | {"default"}
    found = {tier: (number, at) for tier, number, at in root.numbers(row, key, known, "tier")}
    if "default" not in found and len(found) == len(row.entries(key, Decimal)):
        root.faults.add("B112", row.at(key), "`default` is missing.", f"Add `default`: {default}.")
    return found


def _own_objectives(root: Root, slos: tuple[Slo, ...]) -> None:
    """A tenant's own objective must be one whose alerts can fire."""
    classes = {slo.name: slo for slo in slos}
    seen: set[tuple[str, Decimal]] = set()
    for item in root.fields.items("tenants", Fields):
        for entry in item.value.entries("objectives", Decimal):
            if entry.value is None or entry.key not in classes or (entry.key, entry.value.value) in seen:
                continue
            before = root.faults.count
            _reachable(root, classes[entry.key], entry.value.value, entry.value.place)
            if root.faults.count == before:
                seen.add((entry.key, entry.value.value))


# -- what is counted

_KINDS = {
    "bad": "ratio",
    "good": "ratio",
    "total": "ratio",
    "histogram": "latency",
    "within": "latency",
    "buckets": "latency",
    "native": "latency",
    "probe": "probe",
    "bad_ratio": "share",
    "good_ratio": "share",
}


def _source(root: Root, place: Place, row: Fields) -> Source | None:
    kinds = {kind: key for key, kind in reversed(_KINDS.items()) if row.has(key)}
    if len(kinds) > 1:
        one, other = sorted(kinds.values())[:2]
        message = f"`{one}` and `{other}` count in different ways; an SLO counts in one."
        root.faults.add("B112", place, message, "Keep one, and make an SLO of its own of the other.")
        return None
    if "latency" in kinds:
        return _latency(root, place, row)
    if "probe" in kinds:
        found = gauge(root, row, "probe")
        return None if found is None else Probe(found)
    if "share" in kinds:
        return _raw(root, place, row)
    if "ratio" in kinds:
        return ratio(root, place, row)
    message = "nothing is counted: an SLO needs a ratio, a histogram, a probe or a share."
    advice = "Give `bad` (or `good`) and `total`; or `histogram` and `within`; or `probe`; or `bad_ratio`."
    root.faults.add("B112", place, message, advice)
    return None


def _raw(root: Root, place: Place, row: Fields) -> RawRatio | None:
    if row.has("bad_ratio") and row.has("good_ratio"):
        root.faults.add("B112", place, "`bad_ratio` and `good_ratio` say the same.", "Keep one of the two.")
        return None
    part: Literal["good", "bad"] = "bad" if row.has("bad_ratio") else "good"
    query = share(root, row, f"{part}_ratio")
    return None if query is None else RawRatio(query, part)


def _latency(root: Root, place: Place, row: Fields) -> Latency | None:
    if not row.has("histogram") or not row.has("within"):
        message = "a latency SLO needs `histogram` and `within`."
        root.faults.add("B112", place, message, "Give exactly these two.")
        return None
    selector = histogram(root, row)
    bounds = _by_tier(root, row, "within", "the bound of tenants that are in no list")
    _buckets(root, row, bounds)
    if selector is None or "default" not in bounds:
        return None
    return Latency(
        selector,
        bounds["default"][0],
        tuple((tier, bound) for tier, (bound, _) in bounds.items() if tier != "default"),
        row.maybe("native", bool) or False,
    )


def _buckets(root: Root, row: Fields, bounds: dict[str, tuple[Decimal, Place]]) -> None:
    """Where the definition says which buckets there are, a bound must be one: else nothing would be counted."""
    buckets = [item.value for item in row.items("buckets", Decimal)]
    if not buckets:
        return
    if row.maybe("native", bool):
        message = "a native histogram has no fixed buckets."
        root.faults.add("B112", row.at("buckets"), message, "Remove `buckets`.")
        return
    for bound, at in bounds.values():
        if bound not in buckets:
            nearest = min(buckets, key=lambda bucket: abs(bucket - bound))
            message = f"the histogram has no bucket of {bound:f}s: nothing would be counted as good."
            root.faults.add("B133", at, message, f"The nearest one is {nearest:f}s.")


# -- alerts


@dataclass(frozen=True, slots=True)
class _Alerts:
    """What `alerts` says; `table` names where the rows are from."""

    tiers: tuple[BurnTier, ...]
    guard: BurnGuard
    table: str


def _alerts(root: Root, row: Fields) -> _Alerts | None:
    """The burn tiers that are on; None when they cannot be told."""
    said = row.values["alerts"].value if "alerts" in row.values else "google"
    if isinstance(said, str):
        if said == "none":
            return _Alerts((), BurnGuard(), "none")
        tiers = _table(root, said, row.at("alerts"))
        return None if tiers is None else _Alerts(tiers, BurnGuard(), f"burn-rate table {said}")
    assert isinstance(said, Fields)
    if not said.whole:
        return None
    if said.has("rows") and said.has("table"):
        message = "`rows` and `table` are two tables."
        root.faults.add("B112", said.at("rows"), message, "Keep one of the two.")
        return None
    name = said.maybe("table", str) or "google"
    rows = _own_rows(root, said) if said.has("rows") else _table(root, name, said.at("table"))
    if rows is None:
        return None
    table = OWN_TABLE if said.has("rows") else f"burn-rate table {name}"
    return _Alerts(_switched_on(root, said, rows), _guard(root, said), table)


def _table(root: Root, name: str, place: Place) -> tuple[BurnTier, ...] | None:
    tables = windows.burn_tables()
    return tables[name] if root.known(name, frozenset(tables), "burn-rate table", place) else None


def _own_rows(root: Root, said: Fields) -> tuple[BurnTier, ...] | None:
    before = root.faults.count
    rows = [item.value for item in said.items("rows", Fields)]
    seen: set[int] = set()
    for row in rows:
        _row(root, row, seen)
    return tuple(windows.tier_of(row) for row in rows) if root.faults.count == before else None


def _row(root: Root, row: Fields, seen: set[int]) -> None:
    long, short = row.get("long", int), row.get("short", int)
    if row.has("budget_share") == row.has("factor"):
        message = "a row needs `budget_share`, or `factor` in its place."
        root.faults.add("B112", row.place, message, "Give one of the two; 0.02 in 1h of 30d is a factor of 14.4.")
    if short >= long:
        message = f"the short window of {duration(short)} is no shorter than the long one of {duration(long)}."
        root.faults.add("B113", row.at("short"), message, "A twelfth of the long window is usual.")
    root.long_enough(short, row.at("short"))
    if long in seen:
        message = f"the long window {duration(long)} names two rows: alerts and inhibition tell rows apart by it."
        root.faults.add("B115", row.at("long"), message, "Keep one of the two.")
    seen.add(long)


def _switched_on(root: Root, said: Fields, rows: tuple[BurnTier, ...]) -> tuple[BurnTier, ...]:
    off = {item.value: item.place for item in said.items("without", str)}
    known = {name for tier in rows for name in _called(tier)}
    for name, place in off.items():
        if name not in known:
            message = f"the table has no burn tier `{name}` that could be switched off."
            root.faults.add("B116", place, message, f"It has: {listed(sorted(known))}.")
    return tuple(tier for tier in rows if not _called(tier) & off.keys())


def _called(tier: BurnTier) -> set[str]:
    return {tier.severity, duration(tier.long_seconds)}


def _guard(root: Root, said: Fields) -> BurnGuard:
    guard = said.values["guard"].value if "guard" in said.values else "margin"
    if isinstance(guard, str):
        return BurnGuard(cast(Literal["margin", "none"], guard))
    bad, total = (int(guard.maybe(key, Decimal) or 0) for key in ("bad", "total"))
    if bad == total == 0:
        message = "a guard of no events is none."
        root.faults.add("B112", said.at("guard"), message, "Give `bad` or `total`, or write `guard: none`.")
    return BurnGuard("counts", bad, total)


def _short_windows(root: Root, slo: Slo, table: str) -> None:
    """A rate over a window needs scrapes within it. Rows of the definition were checked where they stand."""
    own = table == OWN_TABLE
    shortest = min(300, *(tier.short_seconds for tier in slo.burn)) if slo.burn and not own else 300
    if shortest < 4 * root.scrape_seconds:
        place = root.fields.at("scrape_interval")
        message = f"windows of {duration(shortest)} ({table}) hold fewer than four scrapes."
        root.faults.add("B121", place, message, f"Scrape every {max(1, shortest // 4)}s or more often.")


def _reachable(root: Root, slo: Slo, objective: Decimal, place: Place) -> None:
    """A burn rate is at most 1 / budget. An alert above that is one that people believe in and that never comes."""
    needed = [(tier, windows.factor(tier, slo.window_seconds) * windows.budget(objective)) for tier in slo.burn]
    never = [(tier, share) for tier, share in needed if share >= 1]
    if never:
        tier, share = max(never, key=lambda pair: pair[1])
        which = " and ".join(duration(each.long_seconds) for each, _ in never)
        worst = f"over {duration(tier.long_seconds)} it" if len(never) > 1 else "it"
        off = ", ".join(duration(each.long_seconds) for each, _ in never)
        message = f"at an objective of {objective} % the alert over {which} can never fire"
        advice = f"Raise the objective, shorten `window`, or switch it off: alerts: {{without: [{off}]}}."
        root.faults.add("B120", place, f"{message}: {worst} would need more than {share * 100:.0f} % errors.", advice)


# -- composites


def _composite(root: Root, name: str, place: Place, row: Fields, classes: tuple[Slo, ...]) -> Composite | None:
    known = root.names("slos")
    parts = [item.value for item in row.items("of", str) if root.known(item.value, known, "SLO", item.place)]
    if known is not None and name in known:
        root.faults.add("B115", place, f"`{name}` is an SLO already.", "Choose another name for the composite.")
    read = [slo for slo in classes if slo.name in parts]
    if len({(slo.window_seconds, slo.calendar) for slo in read}) > 1:
        message = "the SLOs have different windows, so that their budgets cannot be added up."
        root.faults.add("B112", row.at("of"), message, "Give them one window, or leave one out.")
        return None
    if not read:
        return None
    return Composite(name, row.maybe("description", str) or name, tuple(parts), row.maybe("owner", str) or "unowned")
