"""The demo workload: "aether-api", a small multi-tenant question-answering service with faults on switches.

Read from the bottom: `serve` and `running` put an HTTP edge and a traffic generator around one `Workload`,
which applies the pure model in `traffic.py` to Prometheus metrics. Latencies are recorded, not slept.
"""

from __future__ import annotations

import json
import math
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import parse_qs, unquote

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from reliary_stack import traffic
from reliary_stack.traffic import DemoTenant, Fault, Request

__all__ = ["ActiveFault", "DemoTenant", "Fault", "RunningDemo", "UnknownName", "Workload", "running", "serve"]

EVERY_TENANT = "all"
TICK_SECONDS = 0.5
CATCH_UP_SECONDS = 5.0
MAX_BODY_BYTES = 64 * 1024
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


def generate(
    advance: Callable[[float, float], None], *, clock: Callable[[], float], sleep: Callable[[float], bool]
) -> None:
    """Calls `advance(since, until)` about twice a second, until `sleep` returns True."""
    last = clock()
    while not sleep(TICK_SECONDS):
        now = clock()
        # A laptop that slept must not wake up to a burst of hours of traffic.
        advance(max(last, now - CATCH_UP_SECONDS), now)
        last = now


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    content_type: str = "application/json"


def _json(status: int, value: object) -> _Reply:
    return _Reply(status, json.dumps(value).encode() + b"\n")


def _refusal(status: int, error: str, next_step: str) -> _Reply:
    return _json(status, {"error": error, "next_step": next_step})


def _route(workload: Workload, method: str, target: str, headers: Message) -> _Reply:
    path, _, query = target.partition("?")
    # Split first, decode second: a tenant may contain an encoded slash.
    parts = [unquote(part) for part in path.split("/")[1:]]
    try:
        match method, *parts:
            case "GET", "metrics":
                return _scrape(workload, headers.get("Accept", ""))
            case "GET", "health":
                return _Reply(200, b"ok", "text/plain; charset=utf-8")
            case "POST", "v1", "ask":
                return _ask(workload, headers.get("X-Tenant-Id", ""))
            case "GET", "faults":
                return _list_faults(workload)
            case "PUT", "faults", tenant, fault:
                return _switch_on(workload, tenant, fault, query)
            case "DELETE", "faults", tenant, fault:
                workload.switch_off(tenant, fault)
                return _list_faults(workload)
            case "DELETE", "faults":
                workload.clear_faults()
                return _list_faults(workload)
    except UnknownName as unknown:
        return _refusal(404, str(unknown), unknown.next_step)
    return _refusal(
        404,
        f"there is no {method} {path}",
        "use GET /metrics, GET /health, POST /v1/ask, GET /faults or PUT /faults/{tenant}/{fault}",
    )


def _scrape(workload: Workload, accept: str) -> _Reply:
    encode, content_type = choose_encoder(accept)
    return _Reply(200, encode(workload.registry), content_type)


def _ask(workload: Workload, tenant: str) -> _Reply:
    if not tenant:
        return _refusal(400, "no tenant", "send the header X-Tenant-Id")
    # http.server reads headers as Latin-1; clients send UTF-8.
    request = workload.ask(tenant.encode("latin-1").decode("utf-8", "replace"))
    if request.code != 200:
        return _refusal(request.code, "the question was not answered", "see GET /faults, or ask again")
    answer = {"answer": "It depends.", "confidence": request.confidence, "cached": request.cached}
    return _json(200, answer)


def _list_faults(workload: Workload) -> _Reply:
    return _json(
        200,
        [
            {"tenant": each.tenant, "fault": each.fault, "seconds_left": each.seconds_left}
            for each in workload.active_faults()
        ],
    )


def _switch_on(workload: Workload, tenant: str, fault: str, query: str) -> _Reply:
    try:
        workload.switch_on(tenant, fault, _seconds(query))
    except ValueError as bad:
        return _refusal(400, str(bad), "use ?seconds=N with a positive N, or leave it out: until removed")
    return _list_faults(workload)


def _seconds(query: str) -> float | None:
    values = parse_qs(query, keep_blank_values=True)
    if not values:
        return None
    # A misspelt parameter must not leave an outage on for good.
    if values.keys() != {"seconds"} or len(values["seconds"]) > 1:
        raise ValueError(f"cannot read the query {query!r}")
    return float(values["seconds"][0])


def _body_bytes(content_length: str) -> int:
    try:
        return int(content_length)
    except ValueError:
        return -1


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "aether-api"
    timeout = 10.0

    def _answer(self) -> None:
        refusal = self._drop_body()
        reply = refusal or _route(self.server.workload, self.command, self.path, self.headers)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _drop_body(self) -> _Reply | None:
        if "Transfer-Encoding" in self.headers:
            return _refusal(411, "the length of the body is unknown", "send a Content-Length")
        length = _body_bytes(self.headers.get("Content-Length", "0"))
        if length < 0:
            return _refusal(400, "cannot read the Content-Length", "send the number of bytes")
        # What stays unread resets the connection, and the client would not see the refusal.
        self.rfile.read(min(length, 2 * MAX_BODY_BYTES))
        if length > MAX_BODY_BYTES:
            return _refusal(413, "the body is too large", f"send at most {MAX_BODY_BYTES} bytes")
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet: two lines per scrape would bury everything else."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], workload: Workload) -> None:
        self.workload = workload
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host name up in DNS, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Reports a fault of ours; a client that hung up is none."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """A demo that answers at `url`; `workload` is what it serves."""

    url: str
    workload: Workload


@contextmanager
def running(
    tenants: Sequence[DemoTenant],
    address: tuple[str, int],
    *,
    seed: int,
    clock: Callable[[], float] = time.time,
) -> Iterator[RunningDemo]:
    """A running demo for the length of a `with`; port 0 takes a free one. OSError if the port is taken.

    Traffic follows `clock` (epoch seconds): while it stands still, only questions asked by hand are counted.
    """
    workload = Workload(tenants, seed=seed, clock=clock)
    stop = threading.Event()
    with _Server(address, workload) as server:
        edge = threading.Thread(target=server.serve_forever, args=(0.05,), name="demo-http", daemon=True)
        generator = threading.Thread(
            target=generate,
            args=(workload.advance,),
            kwargs={"clock": clock, "sleep": stop.wait},
            name="demo-traffic",
            daemon=True,
        )
        edge.start()
        generator.start()
        try:
            host, port = server.server_address[:2]
            yield RunningDemo(f"http://{host!s}:{port}", workload)
        finally:
            stop.set()
            server.shutdown()
            edge.join()
            generator.join()


def serve(
    tenants: Sequence[DemoTenant],
    address: tuple[str, int],
    *,
    seed: int,
    clock: Callable[[], float] = time.time,
) -> None:
    """Serves the demo until SIGTERM or SIGINT, then releases the port and returns.

    Raises OSError if the port is taken. Call it from the main thread.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts and then waited for: no handler runs, so none can meet a held lock.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with running(tenants, address, seed=seed, clock=clock):
            signal.sigwait(signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
