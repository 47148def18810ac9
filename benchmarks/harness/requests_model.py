"""Requests of tenants, minute by minute, by chance: steady, in batches, in office hours, or with errors in clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from harness.burnsim import Array, Counts, Traffic

DAY_MINUTES = 1440
BATCH_MEAN = 10
CLUSTER_MEAN = 5
OFFICE_HOURS = 6

Model: TypeAlias = Callable[[np.random.Generator, float, Array], Traffic]
"""Traffic from requests an hour and the share of bad ones at each time (tenants x minutes)."""


def poisson(random: np.random.Generator, per_hour: float, bad_share: Array) -> Traffic:
    """Independent requests, independent errors."""
    return _with_independent_errors(random, random.poisson(per_hour / 60, bad_share.shape), bad_share)


def batches(random: np.random.Generator, per_hour: float, bad_share: Array) -> Traffic:
    """Requests in batches of 10 on average (geometric); errors are independent within a batch."""
    number = random.poisson(per_hour / 60 / BATCH_MEAN, bad_share.shape)
    return _with_independent_errors(random, _geometric_sums(random, number, BATCH_MEAN), bad_share)


def office(random: np.random.Generator, per_hour: float, bad_share: Array) -> Traffic:
    """All requests of a day within six hours, none in the others; failures begin in the second of the six."""
    hour = np.arange(bad_share.shape[-1]) % DAY_MINUTES // 60
    on = ((hour - 23) % 24 < OFFICE_HOURS) * (24 / OFFICE_HOURS)
    return _with_independent_errors(random, random.poisson(per_hour / 60 * on, bad_share.shape), bad_share)


def clustered(random: np.random.Generator, per_hour: float, bad_share: Array) -> Traffic:
    """Independent requests, but each cause fails 5 of them on average (geometric) in one minute."""
    total = random.poisson(per_hour / 60, bad_share.shape)
    causes = random.poisson(per_hour / 60 * bad_share / CLUSTER_MEAN)
    bad = _geometric_sums(random, causes, CLUSTER_MEAN)
    return Traffic(np.maximum(total, bad).astype(float), bad.astype(float))


MODELS: dict[str, Model] = {"poisson": poisson, "batches": batches, "office": office, "clustered": clustered}


def dispersion(counts: Array) -> float:
    """Variance over mean of the hourly sums: 1 for independent events, more for bursts."""
    hours = counts.reshape(*counts.shape[:-1], -1, 60).sum(axis=-1)
    return float(hours.var() / hours.mean()) if hours.any() else float("nan")


def _with_independent_errors(random: np.random.Generator, total: Counts, bad_share: Array) -> Traffic:
    return Traffic(total.astype(float), random.binomial(total, bad_share).astype(float))


def _geometric_sums(random: np.random.Generator, number: Counts, mean: float) -> Counts:
    """For each entry the sum of so many geometric numbers (1, 2, ...) of that mean."""
    sums = number.copy()
    some = sums > 0
    sums[some] += random.negative_binomial(sums[some], 1 / mean)
    return sums
