"""Windows that start anew with each month or quarter, without a rule that remembers.

Prometheus can only look back over fixed ranges. So each tile carries the colour of the period in which it was
recorded, one of three in turn; the sum over the longest month's range counts those of the present colour. The last
period of that colour ended two periods ago, which is further back than the range. Nothing is carried from one
evaluation to the next: what was missed, restarted or filled in later adds up as in a rolling window. See
docs/decisions/009-calendar-windows.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from reliary import names, promql, windows, zones
from reliary.artifacts import Recording
from reliary.model import Calendar, Slo, Stack
from reliary.promql import series

PERIOD_LABEL = "period"
COLOURS = 3
_MONTHS = {"month": 1, "quarter": 3}


def marked(slo: Slo, expr: str) -> str:
    """An expression with the colour of the present period as a label; as it is for a rolling window."""
    if slo.calendar is None:
        return expr
    return f"{expr}\n* on () group_left ({PERIOD_LABEL}) {_current(slo.calendar)}"


def unmarked(slo: Slo, expr: str, keep: tuple[str, ...]) -> str:
    """A sum over tiles of any colour."""
    return expr if slo.calendar is None else promql.sum_by(list(keep), expr)


def window_sum(slo: Slo, tile: str, keep: tuple[str, ...]) -> str:
    """The sum of tiles over the window of the SLO: the last days, or since the period began."""
    summed = promql.sum_over_time(tile, windows.reach(slo))
    if slo.calendar is None:
        return summed
    return promql.sum_by(list(keep), f"{summed} * on ({PERIOD_LABEL}) group_left () {_current(slo.calendar)}")


def so_far(slo: Slo, burnt: str) -> str:
    """The share of the whole period's budget: on the third day, errors at the limit have used a tenth of it."""
    if slo.calendar is None:
        return burnt
    elapsed = series(names.SLO_WINDOW_ELAPSED, (names.SLO_LABEL, slo.name))
    return f"{burnt}\n* on ({names.SLO_LABEL}) group_left () {elapsed}"


def name(slo: Slo) -> str:
    """The window as definitions say it: `30d`, `month`."""
    return names.duration(slo.window_seconds) if slo.calendar is None else slo.calendar.unit


def spoken(slo: Slo) -> str:
    """The window in words: `30d`, `month`."""
    return names.duration(slo.window_seconds) if slo.calendar is None else f"{slo.calendar.unit}'s"


def windows_of(stack: Stack) -> Iterator[Recording]:
    """The present colour of each calendar in use, and how long each SLO's window is and how much of it is over."""
    for calendar in dict.fromkeys(slo.calendar for slo in stack.slos if slo.calendar):
        for colour in range(COLOURS):
            expr = f"vector(1)\nand on () ({_number(calendar)} % {COLOURS} == {colour})"
            yield Recording(names.CALENDAR, expr, (*_labels(calendar), (PERIOD_LABEL, f"{calendar.unit}-{colour}")))
    for which, slo in _windows(stack):
        if slo.calendar is None:
            yield Recording(names.SLO_WINDOW_SECONDS, f"vector({slo.window_seconds})", which)
            yield Recording(names.SLO_WINDOW_ELAPSED, "vector(1)", which)
        else:
            passed = f"({_passed(slo.calendar)})\n/ ({_length(slo.calendar)})"
            yield Recording(names.SLO_WINDOW_SECONDS, _length(slo.calendar), which)
            yield Recording(names.SLO_WINDOW_ELAPSED, passed, which)


def _windows(stack: Stack) -> Iterator[tuple[tuple[tuple[str, str]], Slo]]:
    """Each SLO and each composite, as a label, with the class whose window it has."""
    for slo in stack.slos:
        yield ((names.SLO_LABEL, slo.name),), slo
    for composite in stack.composites:
        first = next(slo for slo in stack.slos if slo.name in composite.of)
        yield ((names.SLO_LABEL, composite.name),), first


def _labels(calendar: Calendar) -> tuple[tuple[str, str], ...]:
    return (("calendar", calendar.unit), ("zone", calendar.zone))


def _current(calendar: Calendar) -> str:
    return series(names.CALENDAR, *_labels(calendar))


def _local(calendar: Calendar) -> str:
    return zones.clock(calendar.zone, names.CALENDAR_CLOCK)


def _number(calendar: Calendar) -> str:
    """How many months or quarters passed since the year 0."""
    local = _local(calendar)
    return f"floor((12 * year({local}) + month({local}) - 1) / {_MONTHS[calendar.unit]})"


def _length(calendar: Calendar) -> str:
    """Seconds of the present period, by the clock on the wall."""
    local = _local(calendar)
    if calendar.unit == "month":
        return f"86400 * days_in_month({local})"
    leap, second, later = f"(year({local}) % 4 == bool 0)", f"(month({local}) >= bool 4)", f"(month({local}) >= bool 7)"
    # 90 days or 91 in the first quarter, 91 in the second, 92 in the others; leap years by fours until 2100.
    return f"86400 * (90 + {second} + {later} + {leap} * (1 - {second}))"


def _passed(calendar: Calendar) -> str:
    """Seconds since the present period began."""
    local = _local(calendar)
    seconds = f"86400 * (day_of_month({local}) - 1) + {local} % 86400"
    if calendar.unit == "month":
        return seconds
    last = f"({local} - 86400 * day_of_month({local}))"
    first = f"({last} - 86400 * day_of_month({last}))"
    month = f"((month({local}) - 1) % 3)"
    whole = f"({month} >= bool 1) * days_in_month({last}) + ({month} >= bool 2) * days_in_month({first})"
    return f"{seconds}\n+ 86400 * ({whole})"
