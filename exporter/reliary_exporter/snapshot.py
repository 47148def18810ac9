"""What the exporter knows: immutable values, one new set per refresh, and when they become too old to be shown.

Every query has its own reading, so one that fails does not take the others' values away. Clocks may be stepped:
a reading from the future is judged like one from the past, by its distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from reliary.exporterfile import ExporterConfig
from reliary_exporter.prometheus import PrometheusError, Sample, Unreachable

Reason: TypeAlias = Literal["unreachable", "bad_answer", "config"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Answers(Protocol):
    """What a refresh needs of a Prometheus client."""

    def instant(self, query: str) -> tuple[Sample, ...]: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a part of a refresh failed; the message is one line."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class TenantValue:
    """A finite number about a tenant; `component` is empty where the query has no such label."""

    tenant: str
    component: str
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The last good answer to one query, at most one value per tenant and component; Unix time in seconds."""

    taken_at: float
    values: tuple[TenantValue, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last good readings, and the faults of the last round.

    A reading is None before its first answer, and where the stack has no such query. `complete_at` is the Unix time
    of the last round in which every query was answered.
    """

    complete_at: float | None = None
    health: Reading | None = None
    components: Reading | None = None
    costs: Reading | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Activity:
    """What the exporter counts about itself since its start; `seconds` is how long the last round took."""

    rounds: int = 0
    seconds: float | None = None
    faults: tuple[Reason, ...] = ()
    counts: tuple[tuple[Reason, int], ...] = tuple((reason, 0) for reason in REASONS)

    def after(self, seconds: float, faults: Iterable[Fault]) -> Activity:
        """The counts with one more round in them."""
        reasons = [fault.reason for fault in faults]
        counts = tuple((reason, count + reasons.count(reason)) for reason, count in self.counts)
        return Activity(self.rounds + 1, seconds, tuple(reasons), counts)


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the exporter's answers are made of."""

    config: ExporterConfig
    snapshot: Snapshot
    activity: Activity

    def fresh(self, reading: Reading | None, now: float) -> Reading | None:
        """The reading if it may still be shown, else None."""
        return reading if reading is not None and self._young(reading.taken_at, now) else None

    def next_expiry(self, now: float) -> float:
        """When the first of the readings that are shown becomes stale; infinity when none is shown."""
        readings = (self.snapshot.health, self.snapshot.components, self.snapshot.costs)
        shown = [reading.taken_at for reading in readings if reading is not None and self._young(reading.taken_at, now)]
        return min(shown, default=math.inf) + self.config.stale_seconds

    def unready(self, now: float) -> str | None:
        """Why the values cannot be relied on now, in one line; None when they can."""
        complete_at = self.snapshot.complete_at
        if complete_at is not None and self._young(complete_at, now):
            return None
        because = "".join(f"; {fault.message}" for fault in self.snapshot.faults[:1])
        if complete_at is None:
            return f"no refresh has succeeded yet{because}"
        limit = self.config.stale_seconds
        return f"the last good refresh is {abs(now - complete_at):.0f} s old, the limit is {limit} s{because}"

    def _young(self, moment: float, now: float) -> bool:
        return abs(now - moment) < self.config.stale_seconds


def refreshed(before: Snapshot, config: ExporterConfig, client: Answers, now: float) -> Snapshot:
    """The snapshot after one round of queries that began at `now`. Raises nothing: failures become its faults."""
    faults: list[Fault] = []

    def read(query: str, last: Reading | None) -> Reading | None:
        # A server that is away is away for the other queries too; asking on would only wait for more timeouts.
        if any(fault.reason == "unreachable" for fault in faults):
            return last
        try:
            return Reading(now, _values(client.instant(query), config.tenant_label))
        except PrometheusError as error:
            faults.append(Fault("unreachable" if isinstance(error, Unreachable) else "bad_answer", str(error)))
            return last

    health = components = costs = None
    if config.health is not None:
        health = read(config.health.score_query, before.health)
        components = read(config.health.components_query, before.components)
    if config.cost is not None:
        costs = read(config.cost.estimate_query, before.costs)
    return Snapshot(before.complete_at if faults else now, health, components, costs, tuple(faults))


def _values(samples: tuple[Sample, ...], tenant_label: str) -> tuple[TenantValue, ...]:
    """One value per tenant and component, in order; infinite ones and those of nobody are left out."""
    usable = {
        (sample.label(tenant_label), sample.label("component")): sample.value
        for sample in samples
        if math.isfinite(sample.value) and sample.label(tenant_label)
    }
    return tuple(TenantValue(tenant, component, value) for (tenant, component), value in sorted(usable.items()))
