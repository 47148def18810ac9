"""IANA time zones: whether one exists, what its clocks show, and the same as PromQL.

Prometheus knows UTC alone, so the shifts of a zone are written into the rule, for the years up to `LAST_YEAR`. The
data is that of the `tzdata` package and not of the machine, so that the same definitions give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from reliary.artifacts import Recording
from reliary.promql import series

FIRST_YEAR, LAST_YEAR = 2020, 2045
"""Shifts of clocks within these years are known to rules; before and after them the nearest offset holds."""

_DAY = timedelta(days=1)


@cache
def zone(name: str) -> ZoneInfo | None:
    """The zone of that name, `Europe/Berlin`, or None if there is none."""
    parts = name.split("/")
    if not all(part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        return None
    try:
        with files("tzdata.zoneinfo").joinpath(*parts).open("rb") as data:
            return ZoneInfo.from_file(data, key=name)
    except (OSError, ValueError):
        return None


@cache
def names() -> tuple[str, ...]:
    """Every zone's name, for suggestions."""
    return tuple(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def known(name: str) -> ZoneInfo:
    """The zone of a name that the reader has accepted."""
    found = zone(name)
    if found is None:
        raise ValueError(f"{name} is no time zone")
    return found


def clock(name: str, clocks: str) -> str:
    """PromQL: seconds that a clock of the zone shows, as a vector of one value without labels.

    `clocks` is the series that `clocks_of` records for the same group of rules.
    """
    if not _shifts(name)[1]:
        return f"vector({local_time(name)})"
    return f"sum({series(clocks, ('zone', name))})"


def clocks_of(zones_in_use: Iterable[str], clocks: str) -> Iterator[Recording]:
    """The clocks that `clock` reads, to be evaluated before whatever reads them."""
    for name in sorted(set(zones_in_use)):
        if _shifts(name)[1]:
            yield Recording(clocks, f"vector({local_time(name)})", (("zone", name),))


def local_time(name: str) -> str:
    """PromQL: seconds that a clock of the zone shows, as a scalar. `hour(vector(…))` of it is the local hour."""
    base, shifts = _shifts(name)
    if not shifts:
        return f"(time() + {base})" if base else "time()"
    size = max(abs(delta) for _, delta in shifts)
    if any(abs(delta) != size for _, delta in shifts):
        terms = "".join(f"\n  {delta:+d} * (time() >= bool {at})" for at, delta in shifts)
        return f"(time() + {base}{terms})"
    terms = "".join(f"\n  {'+' if delta > 0 else '-'} (time() >= bool {at})" for at, delta in shifts)
    return f"(time() + {base} + {size} * (0{terms}))"


def spans(name: str, until_seconds: int) -> Iterator[tuple[int, int, int]]:
    """Start, end (Unix seconds) and offset (seconds) of the times between two changes of a zone's clocks."""
    offset, shifts = _shifts(name)
    start = int(next(_days()).timestamp())
    for at, delta in shifts:
        if at >= until_seconds:
            break
        yield start, at, offset
        start, offset = at, offset + delta
    yield start, until_seconds, offset


@cache
def _shifts(name: str) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The offset of the first year in seconds, and each later change: when, in Unix seconds, and by how much."""
    days = list(_days())
    offsets = [_offset(name, day) for day in days]
    changes = [
        (_change(name, before, after), new - old)
        for (before, old), (after, new) in zip(
            zip(days, offsets, strict=True), zip(days[1:], offsets[1:], strict=True), strict=False
        )
        if new != old
    ]
    return offsets[0], tuple(changes)


def _days() -> Iterator[datetime]:
    day = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    while day.year <= LAST_YEAR:
        yield day
        day += _DAY


def _offset(name: str, at: datetime) -> int:
    offset = at.astimezone(known(name)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _change(name: str, before: datetime, after: datetime) -> int:
    """The first second with the new offset, between two days that differ."""
    low, high, old = int(before.timestamp()), int(after.timestamp()), _offset(name, before)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(name, datetime.fromtimestamp(middle, UTC)) == old:
            low = middle
        else:
            high = middle
    return high
