"""Burn-rate alerts simulated in arrays: what the emitted rules would do, a thousand times as fast as a Prometheus.

One step is a minute, in which scrapes and the fast group run. Modelled as the rules do it: 5m rates, windows up to
6h as sums of those rates (a range of Prometheus 2 holds both its ends, so 1h has 61 of them), longer windows as sums
of 5-minute tiles, tickets evaluated every second minute. Benchmarks compare it with the rules themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reliary import windows
from reliary.model import Slo

Array: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Guard: TypeAlias = Literal["margin", "> 0", "none"]

GUARDS: tuple[Guard, ...] = ("margin", "> 0", "none")
RATE_MINUTES = 5
TILE_MINUTES = 5
SLOW_MINUTES = 2
FAST_LIMIT_MINUTES = 360


@dataclass(frozen=True, slots=True)
class Tier:
    """A pair of windows in minutes, and the burn rate that both must pass."""

    severity: str
    long: int
    short: int
    factor: float
    wait: int
    keep: int

    @property
    def step(self) -> int:
        """Minutes from evaluation to evaluation."""
        return 1 if self.long <= FAST_LIMIT_MINUTES else SLOW_MINUTES


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events of each minute: all, and the bad ones. Time is the last axis."""

    total: Array
    bad: Array


def tiers(slo: Slo) -> tuple[Tier, ...]:
    """What the compiler makes alerts of."""
    return tuple(
        Tier(
            tier.severity,
            tier.long_seconds // 60,
            tier.short_seconds // 60,
            float(windows.factor(tier, slo.window_seconds)),
            tier.for_seconds // 60,
            tier.keep_firing_for_seconds // 60,
        )
        for tier in slo.burn
    )


def rolling(values: Array, length: int) -> Array:
    """The sum of the last `length` values at each place, of fewer at the start."""
    sums = np.cumsum(values, axis=-1)
    sums[..., length:] = sums[..., length:] - sums[..., :-length]
    return sums


class Recorded:
    """The sums that the recorded series of some traffic would have."""

    def __init__(self, traffic: Traffic) -> None:
        self._rates = [rolling(part, RATE_MINUTES) / RATE_MINUTES for part in (traffic.bad, traffic.total)]
        self._tiles = [rolling(rate, TILE_MINUTES)[..., ::TILE_MINUTES] for rate in self._rates]
        self._known: dict[tuple[int, int], tuple[Array, Array]] = {}

    def events(self, window: int, step: int) -> tuple[Array, Array]:
        """(bad, total) events in a window of so many minutes, every `step` minutes."""
        if (window, step) not in self._known:
            bad, total = (self._sum(part, window, step) for part in (0, 1))
            self._known[window, step] = bad, total
        return self._known[window, step]

    def _sum(self, part: int, window: int, step: int) -> Array:
        rate = self._rates[part]
        if window == RATE_MINUTES:
            return rate[..., ::step] * RATE_MINUTES
        if window <= FAST_LIMIT_MINUTES:
            return rolling(rate, window + 1)[..., ::step]
        tiles = rolling(self._tiles[part], window // TILE_MINUTES)
        newest = np.arange(0, rate.shape[-1], step) // TILE_MINUTES
        return np.asarray(tiles[..., newest])


def condition(recorded: Recorded, tier: Tier, budget: float, guard: Guard, z: float) -> Flags:
    """At which evaluations the expression of an alert gives a result."""
    bad, total = recorded.events(tier.long, tier.step)
    short_bad, short_total = recorded.events(tier.short, tier.step)
    limit = tier.factor * budget
    over = (bad > limit * total) & (short_bad > limit * short_total) & (short_total > 0)
    if guard == "margin":
        over &= bad - z * np.sqrt(bad) > limit * total
    if guard == "> 0":
        over &= total > 0
    return over


def episodes(over: Flags, step: int, wait: int, keep: int) -> list[tuple[int, int]]:
    """(first, last) evaluation of each time that an alert fires, from its condition in time order.

    It fires when the condition has held for `wait` minutes, and until it has not held for `keep` minutes.
    """
    out: list[tuple[int, int]] = []
    for start, end in _runs(over):
        if out and (start - out[-1][1] - 2) * step < keep:
            out[-1] = out[-1][0], end - 1
        elif (end - 1 - start) * step >= wait:
            out.append((start + -(-wait // step), end - 1))
    return out


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """[start, end) of each stretch of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def fired(recorded: Recorded, of: Sequence[Tier], budget: float, guard: Guard, z: float) -> list[Flags]:
    """The conditions of several tiers."""
    return [condition(recorded, tier, budget, guard, z) for tier in of]


def joined_episodes(over: Sequence[Flags], of: Sequence[Tier], keep: bool) -> list[tuple[int, int]]:
    """Minutes (first, last) in which any of several alerts fires: what a person sees of one severity."""
    spans = sorted(
        (first * tier.step, last * tier.step + (tier.keep if keep else 0))
        for flags, tier in zip(over, of, strict=True)
        for first, last in episodes(flags, tier.step, tier.wait, tier.keep if keep else 0)
    )
    step = max(tier.step for tier in of)
    out: list[tuple[int, int]] = []
    for first, last in spans:
        if out and first <= out[-1][1] + step:
            out[-1] = out[-1][0], max(out[-1][1], last)
        else:
            out.append((first, last))
    return out


def first_alert(over: Sequence[Flags], of: Sequence[Tier], start: int) -> Array:
    """For each tenant, minutes from `start` until any of these alerts fires; infinite for never."""
    return np.asarray(np.min([_first(flags, tier, start) for flags, tier in zip(over, of, strict=True)], axis=0))


def _first(flags: Flags, tier: Tier, start: int) -> Array:
    after = flags[:, start // tier.step :]
    minutes = np.argmax(after, axis=1) * tier.step + 1.0 + tier.wait
    return np.where(after.any(axis=1), minutes, np.inf)
