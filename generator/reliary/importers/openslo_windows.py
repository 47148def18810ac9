"""Time windows of OpenSLO: rolling ones in any unit, months and quarters by the calendar."""

from __future__ import annotations

import re

from reliary import zones
from reliary.importers import found as harvesting
from reliary.importers.documents import Cursor
from reliary.importers.found import Change, Harvest, Window
from reliary.names import duration

_ROLLING_DAYS = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
_UNITS = {"Day": "d", "Week": "w", "Month": "M", "Quarter": "Q", "Year": "Y", "Second": "s"}


def window(harvest: Harvest, name: str, spec: Cursor) -> tuple[Window | None, list[Change]]:
    """The time window of an SLO with what changed, None after a problem."""
    listed = (spec["timeWindow"] or spec["timeWindows"]).items()
    if len(listed) != 1:
        message = f"{name}: an SLO has one time window; this has {len(listed)}."
        harvest.refuse("I103", spec.place, message, "Give one `timeWindow`.")
        return None, []
    at = listed[0]
    count, unit = _length(at)
    rolls = at["isRolling"].flag
    if not count:
        shown = at["duration"].text or f"{at['count'].text} {at['unit'].text}".strip()
        harvest.refuse("I105", at.place, f"{name}: `{shown[:40]}` is no time window.", "Write a duration such as 28d.")
        return None, []
    if rolls or (rolls is None and not at["calendar"]):
        return _rolling(harvest, name, at, count, unit)
    return _calendar(harvest, name, at, count, unit), []


def _length(at: Cursor) -> tuple[int, str]:
    """Number and unit of a window; 0 where they cannot be read."""
    if at["unit"]:
        text, unit = at["count"].text, _UNITS.get(at["unit"].text, "")
        return (int(text), unit) if text.isdigit() and len(text) < 7 and unit else (0, "")
    match = re.fullmatch(r"([0-9]{1,6})([mhdwMQY])", at["duration"].text)
    return (int(match[1]), match[2]) if match else (0, "")


def _rolling(harvest: Harvest, name: str, at: Cursor, count: int, unit: str) -> tuple[Window | None, list[Change]]:
    span = count * _ROLLING_DAYS.get(unit, 0) * harvesting.DAY
    window = harvesting.rolling(harvest, at.place, name, duration(span) if span else f"{count}{unit}")
    if window is None or unit not in ("M", "Q"):
        return window, []
    return window, [Change("window", f"a rolling window of {count}{unit} became {window.text}.")]


def _calendar(harvest: Harvest, name: str, at: Cursor, count: int, unit: str) -> Window | None:
    kind = {(1, "M"): "month", (3, "M"): "quarter", (1, "Q"): "quarter"}.get((count, unit), "")
    if not kind:
        message = f"{name}: a calendar window of {count}{unit} is refused; months and quarters can be imported."
        harvest.refuse("I105", at.place, message, "Use a rolling window, or `1M` or `1Q`.")
        return None
    start, zone = at["calendar"]["startTime"], at["calendar"]["timeZone"]
    months = "(?:0[147]|10)" if kind == "quarter" else "[01][0-9]"
    if not re.fullmatch(rf"[0-9]{{4}}-{months}-01(?:[ T]00:00(?::00)?Z?)?", start.text):
        message = f"{name}: the {kind} starts at `{start.text[:40]}`; here it starts on the first at midnight."
        advice = "Use the first of the month (of January, April, July or October for a quarter), 00:00:00."
        harvest.refuse("I105", start.place, message, advice)
        return None
    if zones.zone(zone.text or "UTC") is None:
        message = f"{name}: there is no time zone `{zone.text[:40]}`."
        harvest.refuse("I105", zone.place, message, "Write an IANA name, such as Europe/Berlin.")
        return None
    return Window(0, kind, zone.text or "UTC")
