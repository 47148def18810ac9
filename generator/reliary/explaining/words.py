"""An SLO in words: its window, guard, source and exclusions, and numbers as people say them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from reliary import windows
from reliary.definitions.times import DAYS
from reliary.model import Events, Latency, Maintenance, Once, Probe, Ratio, RawRatio, Recurring, Slo
from reliary.names import duration
from reliary.promql import number


def spoken_time(seconds: int | None) -> str:
    """`21 minutes`, `4 hours`, `never`: a time as people say it."""
    if seconds is None:
        return "never"
    for size, unit in ((86400, "day"), (3600, "hour")):
        if seconds >= 2 * size:
            return f"{round(seconds / size, 1):g} {unit}s"
    minutes = round(seconds / 60)
    return f"{seconds} seconds" if minutes < 2 else f"{minutes} minutes"


def percent(ratio: Decimal) -> str:
    """0.0144 -> `1.44 %`; three digits that matter."""
    value = ratio * 100
    digits = max(0, 2 - value.adjusted()) if value else 0
    return f"{number(round(value, digits))} %"


def amount(value: Decimal) -> str:
    """A count for people: `72,000`, `7.2`, `0.72`."""
    digits = 0 if value >= 100 or value == value.to_integral_value() else max(0, 1 - value.adjusted())
    text = f"{round(value, digits):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def window_words(slo: Slo) -> str:
    """`the last 30d`, `the calendar month (Europe/Berlin)`."""
    if slo.calendar is None:
        return f"the last {duration(slo.window_seconds)}"
    return f"the calendar {slo.calendar.unit} ({slo.calendar.zone})"


def short_window(slo: Slo) -> str:
    """`30d`, `month (Europe/Berlin)`."""
    return duration(slo.window_seconds) if slo.calendar is None else f"{slo.calendar.unit} ({slo.calendar.zone})"


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
    whom = f"for {listing(window.tenants)}" if window.tenants else "for all tenants"
    what = f", {listing(window.slos)}" if window.slos else ""
    return f"{_when(window.when)}, {whom}{what}"


def _when(when: Once | Recurring) -> str:
    if isinstance(when, Once):
        start, end = (datetime.fromtimestamp(at, UTC) for at in (when.start_seconds, when.end_seconds))
        return f"once, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    hour, minute = divmod(when.start_second // 60, 60)
    day = " and ".join(DAYS[each] for each in when.weekdays) or "day"
    days = f"on day {when.month_day} of each month" if when.month_day is not None else f"every {day}"
    return f"{days} at {hour:02}:{minute:02} ({when.zone}) for {duration(when.lasts_seconds)}"


def listing(words: tuple[str, ...], shown: int = 5) -> str:
    """`a, b and 3 more`."""
    more = f" and {len(words) - shown} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more


def _text(events: Events) -> str:
    return " ".join(events.text.split())


def counts(slo: Slo) -> tuple[str, ...]:
    """What is counted, a line for each part."""
    match slo.source:
        case Ratio(counted, part, total):
            return (f"{part} requests: {_text(counted)}", f"all requests: {_text(total)}")
        case Latency(histogram, within, by_tier, native):
            bounds = ", ".join(f"{tier} {_bound(bound)}" for tier, bound in by_tier)
            kind = "native histogram" if native else "histogram"
            own = f" ({bounds})" if bounds else ""
            return (f"requests of the {kind} {_text(histogram)}", f"good within {_bound(within)}{own}")
        case Probe(gauge):
            return (f"samples of the probe {_text(gauge)}: 1 is good",)
        case RawRatio(query, part):
            return (f"share of {part} events: {_text(query)}; each minute weighs the same",)


def _bound(seconds: Decimal) -> str:
    return duration(int(seconds)) if seconds == int(seconds) else f"{number(seconds * 1000)}ms"


def objectives(slo: Slo) -> str:
    """`99.5 % to 99.95 %`: from the lowest to the highest of the class."""
    promised = {slo.default, *(objective for _, objective in slo.by_tier)}
    low, high = f"{number(min(promised))} %", f"{number(max(promised))} %"
    return low if low == high else f"{low} to {high}"


def burn_tiers(slo: Slo) -> str:
    """`page 1h 6h, ticket 3d`, or `none`."""
    found: dict[str, list[str]] = {}
    for tier in slo.burn:
        found.setdefault(tier.severity, []).append(duration(tier.long_seconds))
    return ", ".join(f"{severity} {' '.join(longs)}" for severity, longs in found.items()) or "none"


def ends(slo: Slo) -> str:
    """How an alert ends."""
    if not slo.burn:
        return ""
    return "when the short window is below the limit again; a page hides the tenant's tickets of this SLO meanwhile"
