"""What a rate of events cannot support, in sentences, with what would help and only if it would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from reliary import names
from reliary.explaining.detection import HOUR_SECONDS, bad_events
from reliary.explaining.traffic import (
    AtTraffic,
    Detection,
    Subject,
    measured,
    pages,
    supported,
    switched_off,
    told_seconds,
)
from reliary.explaining.words import amount, spoken_time
from reliary.model import Probe
from reliary.names import duration
from reliary.promql import number, quoted, series
from reliary.slo.calendars import spoken

WITHIN_SECONDS = 12 * HOUR_SECONDS
"""A failure that is not seen by then is told as such."""
LONGEST_WINDOW_DAYS = 90


def judged(subject: Subject, per_hour: Decimal) -> AtTraffic:
    """What the objective means at a rate of events, with the verdict."""
    found = measured(subject, per_hour)
    return replace(found, supported=supported(subject, found), verdict=tuple(_verdict(subject, found)))


def _verdict(subject: Subject, found: AtTraffic) -> Iterator[str]:
    units = f"{amount(found.per_hour)} {subject.unit}{'' if found.per_hour == 1 else 's'}"
    yield f"At {units} an hour {_told_when(subject, found)}{_spent(subject, found)}."
    yield from _too_few(subject, found) if subject.slo.burn else _no_use(subject, found)
    if not supported(subject, found):
        yield from _proposals(subject, found)


def _told_when(subject: Subject, found: AtTraffic) -> str:
    if not subject.slo.burn:
        return "nobody is told, since no alerts are on"
    total, partial = (_when_told(subject, detection) for detection in found.detections[:2])
    if total == partial:
        return f"a failure {total}, be it of 100 % or of 10 %"
    return f"a 100 % failure {total}; a 10 % failure {partial}"


def _when_told(subject: Subject, detection: Detection) -> str:
    page, ticket = detection.page_seconds, detection.ticket_seconds
    if page is not None:
        return f"pages {_about(page)}"
    if ticket is None:
        return "is never noticed"
    never = "never pages, and " if pages(subject.slo) else ""
    return f"{never}opens a ticket {_about(ticket)}"


def _about(seconds: int) -> str:
    return f"after about {spoken_time(seconds)}" if seconds <= WITHIN_SECONDS else "only after more than 12 hours"


def _spent(subject: Subject, found: AtTraffic) -> str:
    """What one bad event costs, where that is more than a tenth of the budget."""
    if found.allowed_bad > 10:
        return ""
    part = f"{amount(100 / found.allowed_bad)} % of the {spoken(subject.slo)} budget"
    return f"; one bad {subject.unit} spends {part}"


def _too_few(subject: Subject, found: AtTraffic) -> Iterator[str]:
    for tier, needed in zip(subject.slo.burn, found.needed, strict=True):
        if needed.bad is None:
            wants = f"its guard wants {subject.slo.guard.total:,} {subject.unit}s, there are {amount(needed.of)}"
            yield f"The alert over {duration(tier.long_seconds)} cannot fire: {wants}."


def _no_use(subject: Subject, found: AtTraffic) -> Iterator[str]:
    """Why it is right that no alerts are on, if it is: even the one with the longest window could not fire."""
    possible = [off for off in switched_off(subject) if off.error_ratio < 1]
    if possible:
        longest = max(possible, key=lambda off: off.long_seconds)
        come = found.per_hour * longest.long_seconds / HOUR_SECONDS
        bad = bad_events(subject.slo.guard, longest.error_ratio, come)
        if bad is not None and bad > come:
            over = f"over {duration(longest.long_seconds)} it takes {bad} bad {subject.unit}s, and {amount(come)} come"
            yield f"The usual alerts could not tell either: {over}."


def _proposals(subject: Subject, found: AtTraffic) -> Iterator[str]:
    """What would help; nothing that would not."""
    ways = [*_probe(subject, found), *_longer(subject, found), *_lower(subject, found)]
    if ways:
        yield f"What helps: {'; or '.join(ways)}."
    yield from _rolled_up(subject)


def _probe(subject: Subject, found: AtTraffic) -> Iterator[str]:
    if isinstance(subject.slo.source, Probe) or not subject.slo.burn:
        return
    every = subject.stack.scrape_interval_seconds
    probed = measured(subject, Decimal(HOUR_SECONDS) / every)
    before, after = (told_seconds(subject, each.detections[0]) for each in (found, probed))
    if after is not None and (before is None or after < before):
        yield (
            f"add a probe (`probe:` with a gauge of 0 and 1): sampled every {duration(every)}, "
            f"it tells of a total failure after about {spoken_time(after)}"
        )


def _longer(subject: Subject, found: AtTraffic) -> Iterator[str]:
    if found.allowed_bad >= 1 or subject.slo.calendar is not None:
        return
    days = (subject.slo.window_seconds / found.allowed_bad / 86400).to_integral_value(rounding=ROUND_CEILING)
    if days <= LONGEST_WINDOW_DAYS:
        yield f"a longer window: within {days:f}d the budget allows one bad {subject.unit}"


def _lower(subject: Subject, found: AtTraffic) -> Iterator[str]:
    if found.allowed_bad >= 1 or found.events_in_window <= 1:
        return
    objective = (100 * (1 - 1 / found.events_in_window)).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    period = duration(subject.slo.window_seconds) if subject.slo.calendar is None else f"a {subject.slo.calendar.unit}"
    if objective >= 50:
        yield f"a lower objective: {number(objective)} % allows one bad {subject.unit} within {period}"


def _rolled_up(subject: Subject) -> Iterator[str]:
    """Several tenants together have more events."""
    stack, tier = subject.stack, subject.tenant.tier if subject.tenant else None
    sizes = Counter(tenant.tier for tenant in stack.tenants)
    if (tier is not None and sizes[tier] < 2) or len(stack.tenants) < 2:
        return
    which = [(names.SLO_LABEL, subject.slo.name), *([("tier", tier)] if tier else [])]
    together = f"the {sizes[tier]} tenants of {quoted(tier)} together" if tier else "all tenants of a tier together"
    yield f"Read {together}: {series(names.rolled_up(names.SLO_BUDGET_REMAINING, 'tier_slo'), *which)}."
