"""The service that the demo plays: its tenants, its metrics, and the faults that are switched on.

Applies the pure model of `traffic.py` to Prometheus metrics. Latencies are recorded, not slept. `demo.py` puts an HTTP
edge and a traffic generator around it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from reliary_stack.demo import traffic
from reliary_stack.demo.traffic import DemoTenant, Fault, Request

EVERY_TENANT = "all"
CODES = ("200", "500", "503")
CONFIDENCES = ("high", "medium", "low")
DIRECTIONS = ("input", "output")


class UnknownName(LookupError):
    """A tenant or fault that the demo does not have; `next_step` says what to use instead."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that is switched on; `seconds_left` is None if it stays on until it is removed."""

    tenant: str
    fault: Fault
    seconds_left: float | None


class Faults:
    """Which faults are on for whom, and until when (epoch seconds; infinity: until removed)."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, Fault], float] = {}

    def switch_on(self, tenant: str, fault: Fault, until: float) -> None:
        self._until[tenant, fault] = until

    def switch_off(self, tenant: str, fault: Fault) -> None:
        self._until.pop((tenant, fault), None)

    def clear(self) -> None:
        self._until.clear()

    def of(self, tenant: str, now: float) -> frozenset[Fault]:
        return frozenset(fault for fault in Fault if self._until.get((tenant, fault), -math.inf) > now)

    def active(self, now: float) -> list[ActiveFault]:
        return [
            ActiveFault(tenant, fault, None if until == math.inf else until - now)
            for (tenant, fault), until in sorted(self._until.items())
            if until > now
        ]


class Metrics:
    """The series of the demo in a registry of their own; every counter of a known tenant starts at 0."""

    def __init__(self, tenants: Sequence[DemoTenant]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("http_requests", "Requests.", ["tenant_id", "code"], registry=registry)
        self._latency = Histogram(
            "http_request_duration_seconds",
            "Time to answer.",
            ["tenant_id"],
            buckets=traffic.LATENCY_BUCKETS,
            registry=registry,
        )
        self._lookups = self._counter("aether_cache_requests", "Cache lookups.")
        self._hits = self._counter("aether_cache_hits", "Cache lookups that found an answer.")
        self._eligible = self._counter("aether_rerank_eligible", "Retrieval passes that may be reranked.")
        self._calls = self._counter("aether_rerank_calls", "Retrieval passes that were reranked.")
        self._answers = self._counter("aether_answers", "Answers by confidence.", "confidence")
        self._tokens = self._counter("aether_tokens", "Tokens of the language model.", "direction")
        self._storage = Gauge("aether_storage_bytes", "Stored bytes.", ["tenant_id"], registry=registry)
        for tenant in tenants:
            self._start_at_zero(tenant.id)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ["tenant_id", *labels], registry=self.registry)

    def _start_at_zero(self, tenant: str) -> None:
        # A series that appears with its first error has no rate yet: that error would be lost.
        for family in (self._latency, self._lookups, self._hits, self._eligible, self._calls, self._storage):
            family.labels(tenant)
        for family, values in (
            (self._requests, CODES),
            (self._answers, CONFIDENCES),
            (self._tokens, DIRECTIONS),
        ):
            for value in values:
                family.labels(tenant, value)

    def record(self, tenant: str, request: Request) -> None:
        """Counts one request."""
        self._requests.labels(tenant, str(request.code)).inc()
        self._latency.labels(tenant).observe(request.latency_seconds)
        if request.cached is not None:
            self._lookups.labels(tenant).inc()
            self._hits.labels(tenant).inc(request.cached)
        self._eligible.labels(tenant).inc(request.rerank_eligible)
        self._calls.labels(tenant).inc(request.rerank_calls)
        if request.confidence is not None:
            self._answers.labels(tenant, request.confidence).inc()
        self._tokens.labels(tenant, "input").inc(request.input_tokens)
        self._tokens.labels(tenant, "output").inc(request.output_tokens)

    def store(self, tenant: str, stored_bytes: float) -> None:
        """Sets the gauge of stored bytes."""
        self._storage.labels(tenant).set(stored_bytes)


@dataclass(slots=True)
class _Lane:
    """One tenant's traffic; a source of chance of its own keeps faults from disturbing the other tenants."""

    tenant: DemoTenant
    rng: Random
    ask_rng: Random
    ordinal: int = 0


class Workload:
    """The demo service without its edges: tenants, faults and metrics. Safe to use from several threads.

    The same seed, clock and calls give the same metrics; questions asked by hand do not disturb the generated
    traffic. Raises ValueError for a repeated tenant or one named "all".
    """

    def __init__(
        self,
        tenants: Sequence[DemoTenant],
        *,
        seed: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        ids = [tenant.id for tenant in tenants]
        if len(set(ids)) < len(ids) or EVERY_TENANT in ids:
            raise ValueError(f'demo tenants need distinct ids, none of them "{EVERY_TENANT}"')
        self._lanes = {
            t.id: _Lane(t, Random(f"{seed}:traffic:{t.id}"), Random(f"{seed}:asked:{t.id}")) for t in tenants
        }
        self._metrics = Metrics(tenants)
        self._faults = Faults()
        self._clock = clock
        self._lock = threading.Lock()
        self._measure_storage(clock())

    @property
    def registry(self) -> CollectorRegistry:
        """The registry that holds the demo's series and nothing else."""
        return self._metrics.registry

    def advance(self, since: float, until: float) -> None:
        """Generates the traffic of every tenant from `since` to `until` (epoch seconds)."""
        with self._lock:
            for lane in self._lanes.values():
                faults = self._faults.of(lane.tenant.id, until)
                for _ in range(traffic.arrivals(lane.tenant, faults, since, until, lane.rng)):
                    self._handle(lane, faults, lane.rng)
        self._measure_storage(until)

    def ask(self, tenant: str) -> Request:
        """What becomes of one question asked now; UnknownName if there is no such tenant."""
        lane = self._lane(tenant)
        with self._lock:
            return self._handle(lane, self._faults.of(tenant, self._clock()), lane.ask_rng)

    def switch_on(self, tenant: str, fault: str, seconds: float | None = None) -> None:
        """Switches a fault on for a tenant or for "all", for `seconds` or (None) until it is removed.

        Raises UnknownName, or ValueError if the seconds are not positive and finite.
        """
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be positive and finite, not {seconds}")
        tenants, known = self._tenants(tenant), _fault(fault)
        with self._lock:
            until = math.inf if seconds is None else self._clock() + seconds
            for each in tenants:
                self._faults.switch_on(each, known, until)

    def switch_off(self, tenant: str, fault: str) -> None:
        """Switches a fault off for a tenant or for "all", whether or not it was on; raises UnknownName."""
        tenants, known = self._tenants(tenant), _fault(fault)
        with self._lock:
            for each in tenants:
                self._faults.switch_off(each, known)

    def clear_faults(self) -> None:
        """Switches everything off."""
        with self._lock:
            self._faults.clear()

    def active_faults(self) -> list[ActiveFault]:
        """What is switched on now, by tenant and fault; a fault set for "all" is listed once per tenant."""
        with self._lock:
            return self._faults.active(self._clock())

    def _handle(self, lane: _Lane, faults: frozenset[Fault], rng: Random) -> Request:
        request = traffic.request(traffic.behaviour(faults, lane.ordinal), rng)
        if Fault.ONE_BAD_REQUEST in faults:
            lane.ordinal += 1
        self._metrics.record(lane.tenant.id, request)
        return request

    def _measure_storage(self, now: float) -> None:
        for lane in self._lanes.values():
            self._metrics.store(lane.tenant.id, traffic.storage_bytes(lane.tenant, now))

    def _tenants(self, name: str) -> Sequence[str]:
        return list(self._lanes) if name == EVERY_TENANT else [self._lane(name).tenant.id]

    def _lane(self, tenant: str) -> _Lane:
        if tenant not in self._lanes:
            advice = 'use a tenant_id that GET /metrics shows (for faults also "all")'
            raise UnknownName(f"unknown tenant {tenant!r}", advice)
        return self._lanes[tenant]


def _fault(name: str) -> Fault:
    if name not in list(Fault):
        raise UnknownName(f"unknown fault {name!r}", f"use one of {', '.join(Fault)}")
    return Fault(name)
