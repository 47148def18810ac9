"""What an SLO means: what was promised to whom, what fires when, who is called, and what the rules cost.

Pure values for whoever shows them. Times are those of `slo/detection.py`, costs those of `slo/cost.py`; what traffic
cannot support is said in sentences, with what would help and only if it would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeAlias

from reliary import names, windows
from reliary.explaining.cost import Cost, cost
from reliary.explaining.detection import HOUR_SECONDS, clears_within, limit
from reliary.explaining.traffic import AtTraffic, Off, Subject, supported_from, switched_off
from reliary.explaining.verdicts import judged
from reliary.explaining.words import (
    burn_tiers,
    counts,
    ends,
    guard_words,
    listing,
    maintenance_words,
    objectives,
    short_window,
    window_words,
)
from reliary.model import BurnTier, Composite, Maintenance, Probe, RawRatio, Slo, Stack, Tenant
from reliary.names import duration
from reliary.promql import series
from reliary.routes import FAST, route_of

Origin: TypeAlias = Literal["tenant", "tier", "default"]

USUAL_REQUESTS_PER_HOUR = (Decimal(1), Decimal(10), Decimal(100), Decimal(1000), Decimal(10000))


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


def explain(stack: Stack, slo: Slo, tenant: Tenant | None = None, per_hour: Decimal | None = None) -> Explanation:
    """Everything about one SLO. Without events an hour: those of the source if it knows, else a table of usual ones."""
    subject = Subject(stack, slo, tenant)
    known = own_events_per_hour(stack, slo) if per_hour is None else per_hour
    rates = USUAL_REQUESTS_PER_HOUR if known is None else (known,)
    return Explanation(
        slo=slo.name,
        description=slo.description,
        owner=slo.owner,
        tenant=tenant.id if tenant else None,
        tier=tenant.tier if tenant else None,
        counts=counts(slo),
        unit=subject.unit,
        objective_percent=subject.objective,
        origin=_origin(slo, tenant),
        promises=tuple(_promises(stack, slo)),
        window=window_words(slo),
        window_seconds=slo.window_seconds,
        budget_seconds=windows.budget(subject.objective) * slo.window_seconds,
        guard=guard_words(slo),
        burn=tuple(_burn(subject, tier) for tier in slo.burn),
        off=tuple(switched_off(subject)),
        ends=ends(slo),
        exclusions=tuple(f"{each.name}: {maintenance_words(each)}" for each in _excluded(stack, slo, tenant)),
        composites=tuple(each.name for each in stack.composites if slo.name in each.of),
        traffic=tuple(judged(subject, rate) for rate in rates),
        supported_from_per_hour=supported_from(subject),
        cost=cost(stack, slo),
    )


def explain_composite(stack: Stack, composite: Composite, tenant: Tenant | None = None) -> CompositeExplanation:
    """What a composite adds up."""
    parts = [slo for slo in stack.slos if slo.name in composite.of]
    objectives = [Subject(stack, slo, tenant).objective for slo in parts]
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
            f"It has no alerts of its own: those of {listing(composite.of)} tell.",
        ),
    )


def overview(stack: Stack) -> tuple[Line, ...]:
    """Every SLO and composite, a line each."""
    found = [
        Line(slo.name, "slo", objectives(slo), short_window(slo), burn_tiers(slo), slo.description)
        for slo in stack.slos
    ]
    for composite in stack.composites:
        of = " + ".join(composite.of)
        window = short_window(next(slo for slo in stack.slos if slo.name in composite.of))
        found.append(Line(composite.name, "composite", of, window, "those of its parts", composite.description))
    return tuple(found)


def own_events_per_hour(stack: Stack, slo: Slo) -> Decimal | None:
    """Events an hour of a source that has its own pace: a sample each scrape, a minute each minute."""
    if isinstance(slo.source, Probe):
        return Decimal(HOUR_SECONDS) / stack.scrape_interval_seconds
    return Decimal(60) if isinstance(slo.source, RawRatio) else None


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
        yield Promise(listing(ids, 3), objective, len(ids))


def _has_own(slo: Slo, tenant: Tenant) -> bool:
    return any(name == slo.name for name, _ in tenant.objectives)


def _excluded(stack: Stack, slo: Slo, tenant: Tenant | None) -> Iterator[Maintenance]:
    for window in stack.exclusions(slo.name):
        if tenant is None or not window.tenants or tenant.id in window.tenants:
            yield window


# -- alerts


def _burn(subject: Subject, tier: BurnTier) -> Burn:
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


def _notified(subject: Subject, tier: BurnTier) -> Iterator[Notified]:
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


def _told(subject: Subject, tier: BurnTier, whom: str, tenant_id: str) -> Notified:
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
