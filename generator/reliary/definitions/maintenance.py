"""Planned windows: when they are, whom they concern, and that no two leave out the same events."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

from reliary import zones
from reliary.definitions.root import DAY, Root
from reliary.definitions.shapes import Fields
from reliary.definitions.slos import zone_name
from reliary.definitions.times import DAYS
from reliary.maintenance import overlap
from reliary.model import Maintenance, Once, Recurring
from reliary.names import duration
from reliary.problems import Place


def maintenance(root: Root) -> tuple[Maintenance, ...]:
    """The planned windows that could be read."""
    found: list[tuple[Maintenance, Place]] = []
    for name, place, row in root.records("maintenance"):
        window = _window(root, name, place, row)
        if window is not None:
            found.append((window, place))
    _overlaps(root, found)
    return tuple(window for window, _ in found)


def _window(root: Root, name: str, place: Place, row: Fields) -> Maintenance | None:
    when = _when(root, place, row)
    known = root.names("slos")
    slos = tuple(item.value for item in row.items("slos", str) if root.known(item.value, known, "SLO", item.place))
    tenants = tuple(item.value for item in row.items("tenants", str) if _is_tenant(root, item.value, item.place))
    if when is None:
        return None
    return Maintenance(name, when, tenants, slos, not row.maybe("counts_against_sla", bool))


def _is_tenant(root: Root, tenant: str, place: Place) -> bool:
    return root.known(tenant, root.tenant_ids, "tenant", place)


def _when(root: Root, place: Place, row: Fields) -> Once | Recurring | None:
    zone = zone_name(root, row)
    if row.has("every") == row.has("from"):
        message = "a window needs `every`, or `from` if it happens once."
        root.faults.add("B112", place, message, "Give one of the two: every: Sun 02:00.")
        return None
    return _once(root, row, zone) if row.has("from") else _recurring(root, row, zone)


def _once(root: Root, row: Fields, zone: str) -> Once | None:
    text = row.get("from", str)
    try:
        naive = datetime.strptime(text, "%Y-%m-%d %H:%M")
    except ValueError:
        root.faults.add("B130", row.at("from"), f"there is no such day as {text}.", "Write a date that exists.")
        return None
    local = naive.replace(tzinfo=zones.known(zone))
    start = int(local.timestamp())
    if local.astimezone(UTC).astimezone(zones.known(zone)).replace(tzinfo=None) != naive:
        message = f"{text} does not exist in {zone}: the clocks go forward over it."
        root.faults.add("B130", row.at("from"), message, "Choose a time before or after that hour.")
        return None
    return Once(start, start + row.get("lasts", int))


def _recurring(root: Root, row: Fields, zone: str) -> Recurring | None:
    *days, clock = row.get("every", str).split(" ")
    lasts, (hours, minutes) = row.get("lasts", int), clock.split(":")
    if lasts > DAY:
        message = f"a window of {duration(lasts)} that comes again would be longer than a day."
        root.faults.add("B113", row.at("lasts"), message, "Use at most 1d, or several windows.")
        return None
    weekdays = tuple(sorted({DAYS.index(day) for day in days if day in DAYS}))
    month_day = int(days[1]) if days[0] == "day" else None
    return Recurring(weekdays, month_day, 3600 * int(hours) + 60 * int(minutes), lasts, zone)


def _overlaps(root: Root, windows: list[tuple[Maintenance, Place]]) -> None:
    """Two windows that leave out the same events make it unclear which of them did, and for how long."""
    excluded = [(window, place) for window, place in windows if window.excluded]
    for (one, at), (other, place) in combinations(excluded, 2):
        both = overlap(one, other)
        if both is not None:
            when = datetime.fromtimestamp(both.start_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
            message = f"`{other.name}` overlaps with `{one.name}` ({at}), for the first time at {when}."
            root.faults.add("B131", place, message, "Make one window of the two, or move one.")
