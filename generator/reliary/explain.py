"""What an SLO means: what was promised to whom, what fires when, who is called, and what the rules cost.

Pure values for whoever shows them. Times are those of `slo/detection.py`, costs those of `slo/cost.py`; what traffic
cannot support is said in sentences, with what would help and only if it would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Literal, TypeAlias

from reliary import names, windows
from reliary.definitions.times import DAYS
from reliary.model import (
    BurnTier,
    Composite,
    Events,
    Latency,
    Maintenance,
    Once,
    Probe,
    Ratio,
    RawRatio,
    Recurring,
    Slo,
    Stack,
    Tenant,
)
from reliary.names import duration
from reliary.promql import number, quoted, series
from reliary.routes import FAST, route_of
from reliary.slo.calendars import spoken
from reliary.slo.cost import Cost, cost
from reliary.slo.detection import HOUR_SECONDS, bad_events, clears_within, fires_after, lags, limit

Origin: TypeAlias = Literal["tenant", "tier", "default"]

USUAL_REQUESTS_PER_HOUR = (Decimal(1), Decimal(10), Decimal(100), Decimal(1000), Decimal(10000))
WITHIN_SECONDS = 12 * HOUR_SECONDS
"""A failure that is not seen by then is told as such."""
SOON_SECONDS = HOUR_SECONDS
LONGEST_WINDOW_DAYS = 90
_ALL, _TENTH = Decimal(1), Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Promise:
    """An objective in percent, and for whom: a tier, `default` for tenants in no list, or tenants of their own."""

    whom: str
    objective_percent: Decimal
    tenants: int


@dataclass(frozen=True, slots=True)
class Notified:
    """Who is told: `whom` says of which tenants, the channels are those of the receiver."""

    whom: str
    receiver: str
    channels: tuple[str, ...]
    respond_within_seconds: int | None
    grouped_for_seconds: int


@dataclass(frozen=True, slots=True)
class Burn:
    """A burn tier: it fires when the share of bad events exceeds `error_ratio` (0..1) over both windows."""

    severity: str
    long_seconds: int
    short_seconds: int
    factor: Decimal
    error_ratio: Decimal
    for_seconds: int
    keep_firing_for_seconds: int
    clears_within_seconds: int
    notified: tuple[Notified, ...]


@dataclass(frozen=True, slots=True)
class Off:
    """A burn tier of the usual table that is switched off, and the share of bad events (0..1) that it would need."""

    severity: str
    long_seconds: int
    error_ratio: Decimal


@dataclass(frozen=True, slots=True)
class Needed:
    """Bad events in a long window that fire its tier, of all events in it; None: there are too few for the guard."""

    long_seconds: int
    bad: int | None
    of: Decimal


@dataclass(frozen=True, slots=True)
class Detection:
    """Seconds until a failure of so many events (0..1) pages, or opens a ticket; None is never."""

    error_ratio: Decimal
    page_seconds: int | None
    ticket_seconds: int | None

    @property
    def first_seconds(self) -> int | None:
        """Until anybody is told."""
        return min((at for at in (self.page_seconds, self.ticket_seconds) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class AtTraffic:
    """What the objective means at a rate of events. `detections` are of all events, a tenth, twice the budget."""

    per_hour: Decimal
    events_in_window: Decimal
    allowed_bad: Decimal
    needed: tuple[Needed, ...]
    detections: tuple[Detection, ...]
    supported: bool
    verdict: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One SLO, for a tenant or for those that are in no list. `supported_from_per_hour`: the least traffic."""

    slo: str
    description: str
    owner: str
    tenant: str | None
    tier: str | None
    counts: tuple[str, ...]
    unit: str
    objective_percent: Decimal
    origin: Origin
    promises: tuple[Promise, ...]
    window: str
    window_seconds: int
    budget_seconds: Decimal
    guard: str
    burn: tuple[Burn, ...]
    off: tuple[Off, ...]
    ends: str
    exclusions: tuple[str, ...]
    composites: tuple[str, ...]
    traffic: tuple[AtTraffic, ...]
    supported_from_per_hour: Decimal | None
    cost: Cost


@dataclass(frozen=True, slots=True)
class CompositeExplanation:
    """Several SLOs read as one. Its objective lies between these two, by where the events are."""

    composite: str
    description: str
    owner: str
    of: tuple[str, ...]
    window: str
    lowest_percent: Decimal
    highest_percent: Decimal
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """An SLO or composite in a list."""

    name: str
    kind: Literal["slo", "composite"]
    objectives: str
    window: str
    alerts: str
    description: str


@dataclass(frozen=True, slots=True)
class _Subject:
    """What all of an explanation is about."""

    stack: Stack
    slo: Slo
    tenant: Tenant | None

    @property
    def objective(self) -> Decimal:
        return self.slo.default if self.tenant is None else self.stack.objective(self.slo, self.tenant)

    @property
    def unit(self) -> str:
        """One event, in a word."""
        return {Probe: "sample", RawRatio: "minute"}.get(type(self.slo.source), "request")


def explain(stack: Stack, slo: Slo, tenant: Tenant | None = None, per_hour: Decimal | None = None) -> Explanation:
    """Everything about one SLO. Without events an hour: those of the source if it knows, else a table of usual ones."""
    subject = _Subject(stack, slo, tenant)
    known = own_events_per_hour(stack, slo) if per_hour is None else per_hour
    rates = USUAL_REQUESTS_PER_HOUR if known is None else (known,)
    return Explanation(
        slo=slo.name,
        description=slo.description,
        owner=slo.owner,
        tenant=tenant.id if tenant else None,
        tier=tenant.tier if tenant else None,
        counts=_counts(slo),
        unit=subject.unit,
        objective_percent=subject.objective,
        origin=_origin(slo, tenant),
        promises=tuple(_promises(stack, slo)),
        window=window_words(slo),
        window_seconds=slo.window_seconds,
        budget_seconds=windows.budget(subject.objective) * slo.window_seconds,
        guard=guard_words(slo),
        burn=tuple(_burn(subject, tier) for tier in slo.burn),
        off=tuple(_off(subject)),
        ends=_ends(slo),
        exclusions=tuple(f"{each.name}: {maintenance_words(each)}" for each in _excluded(stack, slo, tenant)),
        composites=tuple(each.name for each in stack.composites if slo.name in each.of),
        traffic=tuple(_at(subject, rate) for rate in rates),
        supported_from_per_hour=_supported_from(subject),
        cost=cost(stack, slo),
    )


def explain_composite(stack: Stack, composite: Composite, tenant: Tenant | None = None) -> CompositeExplanation:
    """What a composite adds up."""
    parts = [slo for slo in stack.slos if slo.name in composite.of]
    objectives = [_Subject(stack, slo, tenant).objective for slo in parts]
    return CompositeExplanation(
        composite=composite.name,
        description=composite.description,
        owner=composite.owner,
        of=composite.of,
        window=window_words(parts[0]),
        lowest_percent=min(objectives),
        highest_percent=max(objectives),
        sentences=(
            "What the parts allow is added up, and so is what was bad: the part with the most events weighs most.",
            f"It is recorded as {series(names.SLO_BUDGET_REMAINING, (names.SLO_LABEL, composite.name))}.",
            f"It has no alerts of its own: those of {_listing(composite.of)} tell.",
        ),
    )


def overview(stack: Stack) -> tuple[Line, ...]:
    """Every SLO and composite, a line each."""
    found = [
        Line(slo.name, "slo", _between(slo), window_words(slo), _tiers(slo), slo.description) for slo in stack.slos
    ]
    for composite in stack.composites:
        of = " + ".join(composite.of)
        window = window_words(next(slo for slo in stack.slos if slo.name in composite.of))
        found.append(Line(composite.name, "composite", of, window, "those of its parts", composite.description))
    return tuple(found)


def own_events_per_hour(stack: Stack, slo: Slo) -> Decimal | None:
    """Events an hour of a source that has its own pace: a sample each scrape, a minute each minute."""
    if isinstance(slo.source, Probe):
        return Decimal(HOUR_SECONDS) / stack.scrape_interval_seconds
    return Decimal(60) if isinstance(slo.source, RawRatio) else None


# -- words


def spoken_time(seconds: int | None) -> str:
    """`21 minutes`, `4 hours`, `never`: a time as people say it."""
    if seconds is None:
        return "never"
    for size, unit in ((86400, "day"), (HOUR_SECONDS, "hour"), (60, "minute")):
        if seconds >= 2 * size or (unit == "minute" and seconds >= size):
            value = round(seconds / size * 2) / 2 if size > 60 else round(seconds / size)
            return f"{value:g} {unit}{'' if value == 1 else 's'}"
    return f"{seconds} seconds"


def percent(ratio: Decimal) -> str:
    """0.0144 -> `1.44 %`; three digits that matter."""
    value = ratio * 100
    digits = max(0, 2 - value.adjusted()) if value else 0
    return f"{number(round(value, digits))} %"


def amount(value: Decimal) -> str:
    """A count for people: `72,000`, `7.2`, `0.72`."""
    digits = 0 if value >= 100 or value == value.to_integral_value() else max(0, 1 - value.adjusted())
    return f"{round(value, digits):,f}"


def window_words(slo: Slo) -> str:
    """`the last 30d`, `the calendar month (Europe/Berlin)`."""
    if slo.calendar is None:
        return f"the last {duration(slo.window_seconds)}"
    return f"the calendar {slo.calendar.unit} ({slo.calendar.zone})"


def guard_words(slo: Slo) -> str:
    """What an alert asks for beside its limits."""
    if slo.guard.kind == "none":
        return "none: one bad event may fire"
    if slo.guard.kind == "margin":
        return f"95 % sure: bad - {windows.CONFIDENCE_Z} sqrt(bad) must exceed the limit"
    wanted = [f"{count} {which}" for count, which in ((slo.guard.bad, "bad"), (slo.guard.total, "in all")) if count]
    return f"at least {' and '.join(wanted)} in the long window"


def maintenance_words(window: Maintenance) -> str:
    """When a planned window is, and for whom."""
    whom = f"for {_listing(window.tenants)}" if window.tenants else "for all tenants"
    what = f", {_listing(window.slos)}" if window.slos else ""
    return f"{_when(window.when)}, {whom}{what}"


def _when(when: Once | Recurring) -> str:
    if isinstance(when, Once):
        start, end = (datetime.fromtimestamp(at, UTC) for at in (when.start_seconds, when.end_seconds))
        return f"once, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    hour, minute = divmod(when.start_second // 60, 60)
    day = " and ".join(DAYS[each] for each in when.weekdays) or "day"
    days = f"on day {when.month_day} of each month" if when.month_day is not None else f"every {day}"
    return f"{days} at {hour:02}:{minute:02} ({when.zone}) for {duration(when.lasts_seconds)}"


def _listing(words: tuple[str, ...], shown: int = 5) -> str:
    more = f" and {len(words) - shown} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more


def _text(events: Events) -> str:
    return " ".join(events.text.split())


def _counts(slo: Slo) -> tuple[str, ...]:
    match slo.source:
        case Ratio(counted, part, total):
            return (f"{part} requests: {_text(counted)}", f"all requests: {_text(total)}")
        case Latency(histogram, within, by_tier, native):
            bounds = ", ".join(f"{tier} {number(bound)} s" for tier, bound in by_tier)
            kind = "native histogram" if native else "histogram"
            own = f" ({bounds})" if bounds else ""
            return (f"requests of the {kind} {_text(histogram)}", f"good within {number(within)} s{own}")
        case Probe(gauge):
            return (f"samples of the probe {_text(gauge)}: 1 is good",)
        case RawRatio(query, part):
            return (f"share of {part} events: {_text(query)}; each minute weighs the same",)


def _between(slo: Slo) -> str:
    objectives = {slo.default, *(objective for _, objective in slo.by_tier)}
    low, high = f"{number(min(objectives))} %", f"{number(max(objectives))} %"
    return low if low == high else f"{low} to {high}"


def _tiers(slo: Slo) -> str:
    found = [f"{tier.severity} {duration(tier.long_seconds)}" for tier in slo.burn]
    return ", ".join(found) or "none"


def _ends(slo: Slo) -> str:
    """How an alert ends."""
    if not slo.burn:
        return ""
    return "when the short window is below the limit again; a page hides the tenant's tickets of this SLO meanwhile"


# -- promises


def _origin(slo: Slo, tenant: Tenant | None) -> Origin:
    if tenant is None:
        return "default"
    if slo.name in dict(tenant.objectives):
        return "tenant"
    return "tier" if tenant.tier in dict(slo.by_tier) else "default"


def _promises(stack: Stack, slo: Slo) -> Iterator[Promise]:
    """Of the class, of each tier, and of tenants with their own."""
    own = [(tenant.id, dict(tenant.objectives)[slo.name]) for tenant in stack.tenants if _has_own(slo, tenant)]
    members = Counter(tenant.tier for tenant in stack.tenants if not _has_own(slo, tenant))
    listed = dict(slo.by_tier)
    yield Promise("default", slo.default, sum(count for tier, count in members.items() if tier not in listed))
    for tier, objective in slo.by_tier:
        yield Promise(tier, objective, members[tier])
    for objective in sorted({value for _, value in own}):
        ids = tuple(each for each, value in own if value == objective)
        yield Promise(_listing(ids, 3), objective, len(ids))


def _has_own(slo: Slo, tenant: Tenant) -> bool:
    return any(name == slo.name for name, _ in tenant.objectives)


def _excluded(stack: Stack, slo: Slo, tenant: Tenant | None) -> Iterator[Maintenance]:
    for window in stack.exclusions(slo.name):
        if tenant is None or not window.tenants or tenant.id in window.tenants:
            yield window


# -- alerts


def _burn(subject: _Subject, tier: BurnTier) -> Burn:
    return Burn(
        severity=tier.severity,
        long_seconds=tier.long_seconds,
        short_seconds=tier.short_seconds,
        factor=windows.factor(tier, subject.slo.window_seconds),
        error_ratio=limit(subject.slo, tier, subject.objective),
        for_seconds=tier.for_seconds,
        keep_firing_for_seconds=tier.keep_firing_for_seconds,
        clears_within_seconds=clears_within(subject.slo, tier),
        notified=tuple(_notified(subject, tier)),
    )


def _notified(subject: _Subject, tier: BurnTier) -> Iterator[Notified]:
    """For the tenant; without one, for VIPs and for the others where these differ."""
    if subject.tenant is not None:
        yield _told(subject, tier, subject.tenant.id, subject.tenant.id)
        return
    others = _told(subject, tier, "others", "")
    if not subject.stack.vips:
        yield replace(others, whom="all tenants")
        return
    vips = _told(subject, tier, "VIPs", subject.stack.vips[0].id)
    same = replace(vips, whom="") == replace(others, whom="")
    yield from (replace(others, whom="all tenants"),) if same else (vips, others)


def _told(subject: _Subject, tier: BurnTier, whom: str, tenant_id: str) -> Notified:
    stack = subject.stack
    labels = {
        "alertname": names.SLO_ALERT,
        "severity": tier.severity,
        "kind": "slo",
        "burn": duration(tier.long_seconds),
        "owner": subject.slo.owner,
        names.SLO_LABEL: subject.slo.name,
        stack.tenant_label: tenant_id,
    }
    route = route_of(stack, labels)
    assert route is not None  # only the watchdog has none
    receiver = next(each for each in stack.receivers if each.name == route.to)
    channels = tuple(type(channel).__name__ for channel in receiver.channels)
    return Notified(whom, route.to, channels, route.respond_within_seconds, 5 if route.severity in FAST else 30)


def _off(subject: _Subject) -> Iterator[Off]:
    """Tiers of the table that the definition took its own from; a table of its own has none."""
    on = set(subject.slo.burn)
    table = next((rows for rows in windows.burn_tables().values() if on <= set(rows)), ())
    for tier in table:
        if tier not in on:
            yield Off(tier.severity, tier.long_seconds, limit(subject.slo, tier, subject.objective))


# -- traffic


def _at(subject: _Subject, per_hour: Decimal) -> AtTraffic:
    bare = _measured(subject, per_hour)
    return replace(bare, supported=_supported(bare), verdict=tuple(_verdict(subject, bare)))


def _measured(subject: _Subject, per_hour: Decimal) -> AtTraffic:
    slo, budget = subject.slo, windows.budget(subject.objective)
    events = per_hour * slo.window_seconds / HOUR_SECONDS
    needed = (_needed(subject, tier, per_hour) for tier in slo.burn)
    ratios = (_ALL, _TENTH, min(_ALL, 2 * budget))
    detections = tuple(_detection(subject, per_hour, ratio) for ratio in ratios)
    return AtTraffic(per_hour, events, events * budget, tuple(needed), detections, False, ())


def _needed(subject: _Subject, tier: BurnTier, per_hour: Decimal) -> Needed:
    seen = per_hour * tier.long_seconds / HOUR_SECONDS
    return Needed(
        tier.long_seconds, bad_events(subject.slo.guard, limit(subject.slo, tier, subject.objective), seen), seen
    )


def _detection(subject: _Subject, per_hour: Decimal, error_ratio: Decimal) -> Detection:
    def first(severity: str) -> int | None:
        tiers = (tier for tier in subject.slo.burn if tier.severity == severity)
        lag = lags(subject.stack)
        times = (fires_after(subject.slo, tier, subject.objective, per_hour, error_ratio, lag) for tier in tiers)
        return min((at for at in times if at is not None), default=None)

    return Detection(error_ratio, first("page"), first("ticket"))


def _supported(found: AtTraffic) -> bool:
    """One bad event is not the whole budget, and a total failure is told within an hour if alerts are on at all."""
    seen = found.detections[0].first_seconds
    return found.allowed_bad >= 1 and (not found.needed or (seen is not None and seen <= SOON_SECONDS))


def _supported_from(subject: _Subject) -> Decimal | None:
    """Events an hour, rounded up to two digits, from which on the objective is supported; None: at no traffic."""
    low, high = Decimal("0.01"), Decimal(10**7)
    if not _supported(_measured(subject, high)):
        return None
    while high / low > Decimal("1.005"):
        middle = (low * high).sqrt()
        low, high = (low, middle) if _supported(_measured(subject, middle)) else (middle, high)
    step = Decimal(10) ** (high.adjusted() - 1)
    return (high / step).to_integral_value(rounding="ROUND_CEILING") * step


# -- verdicts


def _verdict(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    units = f"{amount(found.per_hour)} {subject.unit}{'' if found.per_hour == 1 else 's'}"
    yield f"At {units} an hour {_told_when(subject, found)}{_spent(subject, found)}."
    if not _supported(found):
        yield from _too_few(subject, found)
        yield from _proposals(subject, found)


def _told_when(subject: _Subject, found: AtTraffic) -> str:
    if not subject.slo.burn:
        return "nobody is told, since no alerts are on"
    total, partial = found.detections[0], found.detections[1]
    paged = any(tier.severity == "page" for tier in subject.slo.burn)

    def when(detection: Detection) -> str:
        at = detection.page_seconds if paged else detection.ticket_seconds
        verb = "pages" if paged else "opens a ticket"
        if at is None:
            return f"never {verb}"
        return f"{verb} after about {spoken_time(at)}" if at <= WITHIN_SECONDS else f"{verb} only after 12 hours"

    if when(total) == when(partial):
        return f"neither a 100 % nor a 10 % failure {when(total)[6:]}" if when(total).startswith("never") else (
            f"a failure of 100 % or of 10 % {when(total)}"
        )
    return f"a 100 % failure {when(total)} and a 10 % failure {when(partial)}"


def _spent(subject: _Subject, found: AtTraffic) -> str:
    """What one bad event costs, where that is more than a tenth of the budget."""
    if found.allowed_bad > 10:
        return ""
    part = f"{amount(100 / found.allowed_bad)} % of the {spoken(subject.slo)} budget"
    return f"; one bad {subject.unit} spends {part}"


def _too_few(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    for tier, needed in zip(subject.slo.burn, found.needed, strict=True):
        if needed.bad is None:
            wanted = f"the guard of the {duration(tier.long_seconds)} alert wants {subject.slo.guard.total}"
            yield f"It cannot fire: {wanted}, and there are {amount(needed.of)}."


def _proposals(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    """What would help; nothing that would not."""
    ways = [*_probe(subject, found), *_longer(subject, found), *_lower(subject, found)]
    if ways:
        yield f"What helps: {'; or '.join(ways)}."
    yield from _rolled_up(subject)


def _probe(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    if isinstance(subject.slo.source, Probe) or not subject.slo.burn:
        return
    every = subject.stack.scrape_interval_seconds
    probed = _measured(subject, Decimal(HOUR_SECONDS) / every)
    before, after = found.detections[0].first_seconds, probed.detections[0].first_seconds
    if after is not None and (before is None or after < before):
        yield (
            f"add a probe (`probe:` with a gauge of 0 and 1): sampled every {duration(every)}, "
            f"it tells of a total failure after about {spoken_time(after)}"
        )


def _longer(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    if found.allowed_bad >= 1 or subject.slo.calendar is not None:
        return
    days = -(-subject.slo.window_seconds / found.allowed_bad // 86400)
    if days <= LONGEST_WINDOW_DAYS:
        yield f"a longer window: within {days:f}d the budget allows one bad {subject.unit}"


def _lower(subject: _Subject, found: AtTraffic) -> Iterator[str]:
    if found.allowed_bad >= 1 or found.events_in_window <= 1:
        return
    objective = (100 * (1 - 1 / found.events_in_window)).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    if objective >= 50:
        yield f"a lower objective: {number(objective)} % allows one bad {subject.unit} in {spoken(subject.slo)}"


def _rolled_up(subject: _Subject) -> Iterator[str]:
    """Several tenants together have more events."""
    stack, tier = subject.stack, subject.tenant.tier if subject.tenant else None
    sizes = Counter(tenant.tier for tenant in stack.tenants)
    if (tier is not None and sizes[tier] < 2) or len(stack.tenants) < 2:
        return
    which = [(names.SLO_LABEL, subject.slo.name), *([("tier", tier)] if tier else [])]
    together = f"the {sizes[tier]} tenants of {quoted(tier)} together" if tier else "all tenants of a tier together"
    yield f"Read {together}: {series(names.rolled_up(names.SLO_BUDGET_REMAINING, 'tier_slo'), *which)}."
