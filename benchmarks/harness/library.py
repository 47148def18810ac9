"""Tenants whose every event is known to the second, and what a scrape would have seen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.remotewrite import Floats, Labels
from harness.stacks import COUNTER

Counts: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

HOUR, DAY = 3600, 86400
SCRAPE_SECONDS = 30
SCRAPE_PHASE = 11
"""Scrapes do not run at the times of the rules."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Good and bad events of each second since the start, and what keeps Prometheus from seeing all of them."""

    name: str
    good: Counts
    bad: Counts
    restarts: tuple[int, ...] = ()
    """Seconds at which its process starts again, with its counters at zero."""
    unseen: Flags | None = None
    """True in seconds in which a scrape fails, or in which there is nothing to scrape."""
    _sums: tuple[Counts, Counts] = field(init=False)

    def __post_init__(self) -> None:
        sums = tuple(np.concatenate([[0], np.cumsum(part)]) for part in (self.bad, self.good + self.bad))
        object.__setattr__(self, "_sums", sums)

    def events(self, end: Counts, window_seconds: int) -> tuple[Counts, Counts]:
        """The truth: (bad, total) events in the windows that end with these seconds."""
        last = np.clip(end, 0, len(self.good))
        first = np.clip(end - window_seconds, 0, len(self.good))
        bad, total = self._sums
        return bad[last] - bad[first], total[last] - total[first]

    def scraped(self, start: int) -> Iterator[tuple[Labels, Counts, Floats]]:
        """Counters (labels, times in ms, values). One that never counted anything does not exist."""
        seconds = np.arange(SCRAPE_PHASE, len(self.good) + 1, SCRAPE_SECONDS)
        for code, part in (("200", self.good), ("500", self.bad)):
            values = self._counter(part)[seconds]
            seen = np.cumsum(values) > 0
            if self.unseen is not None:
                seen &= ~self.unseen[seconds - 1]
            if seen.any():
                labels = {"__name__": COUNTER, "job": "api", "tenant_id": self.name, "code": code}
                yield labels, (start + seconds[seen]) * 1000, values[seen].astype(np.float64)

    def _counter(self, part: Counts) -> Counts:
        """What the process shows at each second: events since its last start."""
        sums = np.concatenate([[0], np.cumsum(part)])
        base = np.zeros_like(sums)
        for restart in self.restarts:
            base[restart:] = sums[restart]
        return np.asarray(sums - base)


def tenants(days: int, seed: int) -> tuple[Tenant, ...]:
    """The library: one tenant for each thing that makes ratios wrong."""
    return tuple(make(np.random.default_rng([seed, at]), days * DAY) for at, make in enumerate(_LIBRARY))


Maker: TypeAlias = Callable[[np.random.Generator, int], Tenant]


def _drawn(
    random: np.random.Generator, per_second: Floats | float, bad_share: Floats | float, seconds: int
) -> tuple[Counts, Counts]:
    rate, share = np.broadcast_to(per_second, seconds), np.broadcast_to(bad_share, seconds)
    return random.poisson(rate * (1 - share)), random.poisson(rate * share)


def _by_day(seconds: int) -> Flags:
    hour = np.arange(seconds) % DAY // HOUR
    return (hour >= 8) & (hour < 20)


def _back(seconds: int, hours: float, minutes: float) -> Flags:
    """True in the minutes that start so many hours before the end."""
    before_end = seconds - np.arange(seconds)
    return (before_end <= hours * HOUR) & (before_end > hours * HOUR - minutes * 60)


def _steady(random: np.random.Generator, seconds: int) -> Tenant:
    return Tenant("steady", *_drawn(random, 10.0, 0.002, seconds))


def _night_errors(random: np.random.Generator, seconds: int) -> Tenant:
    day = _by_day(seconds)
    return Tenant("errors-at-night", *_drawn(random, np.where(day, 20.0, 0.2), np.where(day, 0, 0.05), seconds))


def _bursts(random: np.random.Generator, seconds: int) -> Tenant:
    burst = np.arange(seconds) % HOUR < 60
    return Tenant("bursts-1min-hourly", *_drawn(random, np.where(burst, 120, 0.2), np.where(burst, 0.02, 0), seconds))


def _outage(random: np.random.Generator, seconds: int) -> Tenant:
    down = _back(seconds, 30, 20) | _back(seconds, 100, 20)
    return Tenant("outages-20min", *_drawn(random, 5.0, np.where(down, 1.0, 0.0005), seconds))


def _late(random: np.random.Generator, seconds: int) -> Tenant:
    there = _back(seconds, 30, 30 * 60)
    return Tenant("late-tenant-30h", *_drawn(random, np.where(there, 5.0, 0), 0.004, seconds))


def _late_errors(random: np.random.Generator, seconds: int) -> Tenant:
    failing = _back(seconds, 40, 40 * 60)
    return Tenant("first-error-40h-ago", *_drawn(random, 2.0, np.where(failing, 0.01, 0), seconds))


def _restarts(random: np.random.Generator, seconds: int) -> Tenant:
    return Tenant("counter-reset-4h", *_drawn(random, 10.0, 0.002, seconds), tuple(range(4 * HOUR, seconds, 4 * HOUR)))


def _gap(random: np.random.Generator, seconds: int) -> Tenant:
    gap = _back(seconds, 28, 40)
    share = np.where(gap, 0.02, 0.002)
    return Tenant("scrape-gap-40min", *_drawn(random, 10.0, share, seconds), unseen=gap)


def _sparse(random: np.random.Generator, seconds: int) -> Tenant:
    return Tenant("1-request-in-10min", *_drawn(random, 1 / 600, 0.05, seconds))


def _idle_nights(random: np.random.Generator, seconds: int) -> Tenant:
    return Tenant("idle-nights", *_drawn(random, np.where(_by_day(seconds), 3.0, 0), 0.002, seconds))


def _never(random: np.random.Generator, seconds: int) -> Tenant:
    return Tenant("never-an-error", *_drawn(random, 2.0, 0.0, seconds))


def _vanished(random: np.random.Generator, seconds: int) -> Tenant:
    gone = _back(seconds, 36, 36 * 60)
    return Tenant("vanished-36h-ago", *_drawn(random, np.where(gone, 0, 5.0), 0.003, seconds), unseen=gone)


_LIBRARY: tuple[Maker, ...] = (
    _steady,
    _night_errors,
    _bursts,
    _outage,
    _late,
    _late_errors,
    _restarts,
    _gap,
    _sparse,
    _idle_nights,
    _never,
    _vanished,
)
