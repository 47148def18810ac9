"""What an objective means at a rate of events: how many bad ones fire, when somebody is told, if that will do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from reliary import windows
from reliary.explaining.detection import HOUR_SECONDS, bad_events, fires_after, lags, limit
from reliary.model import BurnTier, Probe, RawRatio, Slo, Stack, Tenant

SOON_SECONDS = HOUR_SECONDS
_ALL, _TENTH = Decimal(1), Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Subject:
    """What all of an explanation is about: a class, for a tenant or for those that are in no list."""

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


def measured(subject: Subject, per_hour: Decimal) -> AtTraffic:
    """What it means at a rate of events, without a verdict."""
    slo, budget = subject.slo, windows.budget(subject.objective)
    events = per_hour * slo.window_seconds / HOUR_SECONDS
    needed = (_needed(subject, tier, per_hour) for tier in slo.burn)
    ratios = (_ALL, _TENTH, min(_ALL, 2 * budget))
    detections = tuple(_detection(subject, per_hour, ratio) for ratio in ratios)
    return AtTraffic(per_hour, events, events * budget, tuple(needed), detections, False, ())


def _needed(subject: Subject, tier: BurnTier, per_hour: Decimal) -> Needed:
    seen = per_hour * tier.long_seconds / HOUR_SECONDS
    return Needed(
        tier.long_seconds, bad_events(subject.slo.guard, limit(subject.slo, tier, subject.objective), seen), seen
    )


def _detection(subject: Subject, per_hour: Decimal, error_ratio: Decimal) -> Detection:
    def first(severity: str) -> int | None:
        tiers = (tier for tier in subject.slo.burn if tier.severity == severity)
        lag = lags(subject.stack)
        times = (fires_after(subject.slo, tier, subject.objective, per_hour, error_ratio, lag) for tier in tiers)
        return min((at for at in times if at is not None), default=None)

    return Detection(error_ratio, first("page"), first("ticket"))


def supported(subject: Subject, found: AtTraffic) -> bool:
    """One bad event is not the whole budget, and a total failure is told within an hour if alerts are on at all."""
    seen = told_seconds(subject, found.detections[0])
    return found.allowed_bad >= 1 and (not found.needed or (seen is not None and seen <= SOON_SECONDS))


def told_seconds(subject: Subject, detection: Detection) -> int | None:
    """Until the page, or until the ticket where nothing pages."""
    return detection.page_seconds if pages(subject.slo) else detection.ticket_seconds


def pages(slo: Slo) -> bool:
    """True when a failure calls somebody, rather than only opening a ticket."""
    return any(tier.severity == "page" for tier in slo.burn)


def supported_from(subject: Subject) -> Decimal | None:
    """Events an hour, rounded up to two digits, from which on the objective is supported; None: at no traffic."""
    low, high = Decimal("0.01"), Decimal(10**7)
    if not supported(subject, measured(subject, high)):
        return None
    while high / low > Decimal("1.005"):
        middle = (low * high).sqrt()
        low, high = (low, middle) if supported(subject, measured(subject, middle)) else (middle, high)
    step = Decimal(10) ** (high.adjusted() - 1)
    return (high / step).to_integral_value(rounding=ROUND_CEILING) * step


def switched_off(subject: Subject) -> Iterator[Off]:
    """Tiers of the table that the definition took its own from; a table of its own has none."""
    on = set(subject.slo.burn)
    table = next((rows for rows in windows.burn_tables().values() if on <= set(rows)), ())
    for tier in table:
        if tier not in on:
            yield Off(tier.severity, tier.long_seconds, limit(subject.slo, tier, subject.objective))
