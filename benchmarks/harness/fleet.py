"""Many tenants with a past: raw counters, and what rules would have recorded of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import sloth
from harness.burnsim import rolling
from harness.remotewrite import Floats, Labels
from harness.stacks import COUNTER
from reliary import names

STEP_SECONDS = 30
RATE_STEPS = 10
TILE_STEPS = 10
INSTANCES = ("a", "b")
SLO = "availability"

Sample = tuple[Labels, NDArray[np.int64], Floats]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant with two instances, each with a counter of good and one of bad requests."""

    name: str
    per_second: float
    bad_share: float


def fleet(size: int, seed: int) -> tuple[Tenant, ...]:
    """From one request in 100 s to 100 a second, and from 0.01 % to 3 % bad ones."""
    random = np.random.default_rng(seed)
    rates, shares = 10 ** random.uniform(-2, 2, size), 10 ** random.uniform(-4, -1.5, size)
    return tuple(
        Tenant(f"t{at:05d}", float(rate), float(share))
        for at, (rate, share) in enumerate(zip(rates, shares, strict=True))
    )


def history(tenants: Sequence[Tenant], now: int, days: float, future_seconds: int, seed: int) -> Iterator[Sample]:
    """Raw counters from `days` ago until after `now`, and recorded series (ours, and Sloth's) until `now`."""
    steps = int(days * 86400) // STEP_SECONDS
    times = (now + STEP_SECONDS * np.arange(-steps, future_seconds // STEP_SECONDS)) * 1000
    random = np.random.default_rng(seed)
    for tenant in tenants:
        counted = _events(random, tenant, len(times))
        yield from _raw(tenant, times, counted)
        past = {code: np.sum(part, axis=0)[:steps] for code, part in counted.items()}
        yield from recorded(tenant, times[:steps], past["500"], past["200"] + past["500"], steps)


def _events(random: np.random.Generator, tenant: Tenant, steps: int) -> dict[str, Floats]:
    """By code, instances x steps."""
    each = tenant.per_second * STEP_SECONDS / len(INSTANCES)
    shares = {"200": 1 - tenant.bad_share, "500": tenant.bad_share}
    return {code: random.poisson(each * share, (len(INSTANCES), steps)).astype(float) for code, share in shares.items()}


def _raw(tenant: Tenant, times: NDArray[np.int64], counted: dict[str, Floats]) -> Iterator[Sample]:
    for code, part in counted.items():
        for instance, values in zip(INSTANCES, np.cumsum(part, axis=1), strict=True):
            labels = {"__name__": COUNTER, "job": "api", "tenant_id": tenant.name, "code": code, "instance": instance}
            yield labels, times, values


def recorded(tenant: Tenant, times: NDArray[np.int64], bad: Floats, total: Floats, rate_steps: int) -> Iterator[Sample]:
    """Rates and tiles of our rules, 5m ratios of Sloth's."""
    rates = {}
    for part, rate_name, tile_name in (
        (bad, names.SLO_ERRORS_RATE, names.SLO_ERRORS_TILE),
        (total, names.SLO_TOTAL_RATE, names.SLO_TOTAL_TILE),
    ):
        rates[rate_name] = rate = rolling(part, RATE_STEPS) / (RATE_STEPS * STEP_SECONDS)
        labels = {"tenant_id": tenant.name, names.SLO_LABEL: SLO}
        yield {**labels, "__name__": rate_name}, times[-rate_steps:], rate[-rate_steps:]
        yield {**labels, "__name__": tile_name}, times[::TILE_STEPS], rolling(rate, TILE_STEPS)[::TILE_STEPS]
    with np.errstate(invalid="ignore"):
        ratio = rates[names.SLO_ERRORS_RATE] / rates[names.SLO_TOTAL_RATE]
    labels = {"sloth_id": f"{tenant.name}-{SLO}", "sloth_service": tenant.name, "sloth_slo": SLO, "sloth_window": "5m"}
    yield {**labels, "__name__": sloth.window_series("5m")}, times[-rate_steps:], ratio[-rate_steps:]


HISTORIC = frozenset({names.SLO_ERRORS_RATE, names.SLO_TOTAL_RATE, names.SLO_ERRORS_TILE, names.SLO_TOTAL_TILE})
"""What `recorded` knows of our rules. A rule that reads another series over a range would find no past."""
