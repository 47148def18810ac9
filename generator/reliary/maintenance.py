"""Planned windows: when they are, as instants for people and tests, and as PromQL for rules.

Events within a window that is excluded cost no budget (`slos.py` leaves them out where they are counted). A 5-minute
rate looks back, so a window's flag stays up for five minutes more; and it rises one evaluation early, because the
rules that read it may run just before it is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from reliary import names, promql, zones
from reliary.artifacts import Labels, Recording
from reliary.model import Maintenance, Once, Recurring, Stack

LOOK_BACK_SECONDS = 300
DAY = 86400


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a window is on, in Unix seconds; the end is no longer part of it."""

    start_seconds: int
    end_seconds: int


def occurrences(window: Maintenance, start_seconds: int, end_seconds: int) -> Iterator[Occurrence]:
    """The times that a window is on and that touch a span, in order.

    Local times that a change of the clocks skips or repeats follow the clock on the wall: a window from 02:00 to 02:30
    does not happen in the night in which 02:00 is followed by 03:00, and happens twice in the other one.
    """
    when = window.when
    found = (
        (Occurrence(when.start_seconds, when.end_seconds),) if isinstance(when, Once) else _recurring(when, end_seconds)
    )
    for each in found:
        if each.start_seconds < end_seconds and each.end_seconds > start_seconds:
            yield each


@lru_cache(maxsize=256)
def _recurring(when: Recurring, end_seconds: int) -> tuple[Occurrence, ...]:
    """From the first year that zones know on; times that touch each other are one."""
    merged: list[Occurrence] = []
    for first, last, offset in zones.spans(when.zone, end_seconds):
        for began in _days(when, first + offset - DAY, last + offset):
            start, end = max(began - offset, first), min(began + when.lasts_seconds - offset, last)
            if start >= end:
                continue
            if merged and merged[-1].end_seconds == start:
                start = merged.pop().start_seconds
            merged.append(Occurrence(start, end))
    return tuple(merged)


def _days(when: Recurring, first_seconds: int, last_seconds: int) -> Iterator[int]:
    """Starts within a span, all by the clock on the wall."""
    for midnight in range(first_seconds // DAY * DAY - DAY, last_seconds + 1, DAY):
        day = datetime.fromtimestamp(midnight, UTC)
        if day.isoweekday() % 7 in when.weekdays if when.weekdays else when.month_day in (None, day.day):
            yield midnight + when.start_second


def first_offset(zone: str) -> int:
    """Seconds by which the clocks of a zone were ahead of UTC before the first change that rules know."""
    return next(zones.spans(zone, 0))[2]


def flags(stack: Stack) -> Iterator[Recording]:
    """A series for each excluded window that exists while it is on: one for all, or one for each of its tenants."""
    for window in stack.maintenance:
        if window.excluded:
            expr = active(window.when, early_seconds=stack.evaluation_interval_seconds)
            yield from (Recording(names.MAINTENANCE, expr, labels) for labels in _scopes(stack, window))


def _scopes(stack: Stack, window: Maintenance) -> Iterator[Labels]:
    own = (("window", window.name),)
    if not window.tenants:
        yield own
    for tenant in window.tenants:
        yield ((stack.tenant_label, tenant), *own)


def zones_of(stack: Stack) -> list[str]:
    """The zones by whose clocks windows come again."""
    return [window.when.zone for window in stack.maintenance if window.excluded and isinstance(window.when, Recurring)]


def masks(stack: Stack, slo: str) -> tuple[str, ...]:
    """`on (…) flags` of the windows that leave out events of an SLO: those of some tenants, and those of all."""
    found = []
    for label, of_tenants in ((stack.tenant_label, True), ("", False)):
        chosen = [window.name for window in stack.exclusions(slo) if bool(window.tenants) == of_tenants]
        if chosen:
            flags = f"{names.MAINTENANCE}{{window=~{promql.quoted(promql.any_of(chosen))}}}"
            found.append(f"on ({label}) {flags}")
    return tuple(found)


def active(when: Once | Recurring, early_seconds: int = 0, late_seconds: int = LOOK_BACK_SECONDS) -> str:
    """PromQL with the one value 1 while a window is on, and for so long before and after; else nothing."""
    if isinstance(when, Once):
        start, end = when.start_seconds - early_seconds, when.end_seconds + late_seconds
        return f"vector(1) and on () (vector(time()) >= {start} < {end})"
    begun = f"({zones.clock(when.zone, names.MAINTENANCE_CLOCK)} - {when.start_second - early_seconds})"
    lasts = when.lasts_seconds + early_seconds + late_seconds
    on = f"vector(1)\nand on () ({begun} % {DAY} < {lasts})" + _day(when, begun)
    if lasts <= DAY:
        return on
    # What is left of a window that began more than a day ago.
    yesterday = f"({begun} - {DAY})"
    return f"{on}\nor\nvector(1)\nand on () ({begun} % {DAY} < {lasts - DAY})" + _day(when, yesterday)


def _day(when: Recurring, begun: str) -> str:
    if when.month_day is not None:
        return f"\nand on () (day_of_month({begun}) == {when.month_day})"
    if not when.weekdays:
        return ""
    days = "\n  or ".join(f"day_of_week({begun}) == {day}" for day in when.weekdays)
    return f"\nand on () ({days})"


def overlap(one: Maintenance, other: Maintenance) -> Occurrence | None:
    """A time at which two windows both leave out events of the same tenant and SLO; None if there is none."""
    if not _share(one.tenants, other.tenants) or not _share(one.slos, other.slos):
        return None
    start, end = _span(one, other)
    ours, theirs = occurrences(one, start, end), occurrences(other, start, end)
    a, b = next(ours, None), next(theirs, None)
    while a is not None and b is not None:
        if a.start_seconds < b.end_seconds and b.start_seconds < a.end_seconds:
            return Occurrence(max(a.start_seconds, b.start_seconds), min(a.end_seconds, b.end_seconds))
        if a.end_seconds <= b.start_seconds:
            a = next(ours, None)
        else:
            b = next(theirs, None)
    return None


def _share(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return not one or not other or bool(set(one) & set(other))


def _span(one: Maintenance, other: Maintenance) -> tuple[int, int]:
    """Where to look: around a window that happens once, else a year and a month of both."""
    for window in (one, other):
        if isinstance(window.when, Once):
            return window.when.start_seconds, window.when.end_seconds
    first = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    return first, first + 396 * DAY
