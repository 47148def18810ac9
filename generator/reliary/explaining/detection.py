"""When an alert fires: bad events that it takes, and how long until so many have come and have been seen.

The same arithmetic as the rules': both windows above the limit, and the guard. Traffic and errors come at a constant
rate, and independently of each other: the k-th of such events has come, as often as not, after the time in which
k - 1/3 are due. What the rules add to that is added here: 5-minute rates lag, tiles and evaluations come at intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil, sqrt

from reliary import windows
from reliary.model import BurnGuard, BurnTier, Slo, Stack
from reliary.slo.rules import EXACT_BELOW_SECONDS, RATE_SECONDS, SLOW_SECONDS, TILE_SECONDS

HOUR_SECONDS = 3600
_THIRD = Decimal(1) / 3


@dataclass(frozen=True, slots=True)
class Lags:
    """What recording costs in time, in seconds: rates over so long, tiles of so long, evaluations so far apart."""

    rate_seconds: int = RATE_SECONDS
    tile_seconds: int = TILE_SECONDS
    fast_seconds: int = 30
    slow_seconds: int = SLOW_SECONDS


def lags(stack: Stack) -> Lags:
    """The lags of the rules that a stack compiles to."""
    return Lags(fast_seconds=stack.evaluation_interval_seconds)


def limit(slo: Slo, tier: BurnTier, objective_percent: Decimal) -> Decimal:
    """The share of bad events (0..1) that both windows must exceed."""
    return windows.factor(tier, slo.window_seconds) * windows.budget(objective_percent)


def bad_events(guard: BurnGuard, limit_ratio: Decimal, events: Decimal) -> int | None:
    """The fewest bad events among so many of the long window that fire; None when these are too few for the guard."""
    if guard.kind == "counts" and events < guard.total:
        return None
    z = windows.CONFIDENCE_Z if guard.kind == "margin" else Decimal(0)
    least = ((z + (z * z + 4 * limit_ratio * events).sqrt()) / 2) ** 2
    bad = max(1, int(least) - 1)  # rounding may have put the root on either side of a whole number
    while bad - z * Decimal(bad).sqrt() <= limit_ratio * events:
        bad += 1
    return max(bad, guard.bad) if guard.kind == "counts" else bad


def fires_after(
    slo: Slo, tier: BurnTier, objective_percent: Decimal, per_hour: Decimal, error_ratio: Decimal, lag: Lags
) -> int | None:
    """Seconds from the beginning of a failure to the alert, as often as not; None when that is never.

    `per_hour` are all events, `error_ratio` (0..1) is the share of them that fails from then on, none before.
    """
    least = limit(slo, tier, objective_percent)
    bad = bad_events(slo.guard, least, per_hour * tier.long_seconds / HOUR_SECONDS)
    if bad is None or error_ratio <= least:
        return None
    due = (bad - _THIRD) * HOUR_SECONDS / (error_ratio * per_hour)
    seen = [
        _seen(slo, tier.long_seconds, float(due), lag),
        _seen(slo, tier.short_seconds, float(least * tier.short_seconds / error_ratio), lag),
    ]
    known = [at for at in seen if at is not None]
    if len(known) < len(seen):
        return None
    interval = lag.fast_seconds if tier.long_seconds <= windows.FAST_LIMIT_SECONDS else lag.slow_seconds
    return _evaluated(max(known), interval) + _evaluated(tier.for_seconds, interval)


def clears_within(slo: Slo, tier: BurnTier) -> int:
    """Seconds from the last bad event to the end of the alert, at most: the short window forgets first."""
    return tier.short_seconds + _smoothing(slo, tier.short_seconds, Lags()) + tier.keep_firing_for_seconds


def _evaluated(seconds: float, interval: int) -> int:
    return ceil(seconds / interval) * interval


def _smoothing(slo: Slo, window: int, lag: Lags) -> int:
    """Sums of 5m rates see an event little by little; the raw counters and the 5m rate itself do so at once."""
    raw = window < EXACT_BELOW_SECONDS or (slo.exact and window <= windows.FAST_LIMIT_SECONDS)
    return 0 if raw else lag.rate_seconds


def _seen(slo: Slo, window: int, failing: float, lag: Lags) -> float | None:
    """When a window shows so many seconds of the failure; None if it cannot hold them."""
    if failing > window:
        return None
    width = _smoothing(slo, window, lag)
    tile = lag.tile_seconds / 2 if window > windows.FAST_LIMIT_SECONDS else 0.0
    if failing < width / 2:
        return tile + sqrt(2 * width * failing)
    if failing <= window - width / 2:
        return tile + failing + width / 2
    return tile + window + width - sqrt(2 * width * (window - failing))
