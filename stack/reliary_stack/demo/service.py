"""The demo workload: "aether-api", a small multi-tenant question-answering service with faults on switches.

Read from the bottom: `serve` and `running` put an HTTP edge and a traffic generator around one `Workload`.
"""

from __future__ import annotations

import json
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
from urllib.parse import parse_qs, unquote

from prometheus_client.exposition import choose_encoder

from reliary_stack.demo.traffic import DemoTenant, Fault
from reliary_stack.demo.workload import ActiveFault, UnknownName, Workload

__all__ = ["ActiveFault", "DemoTenant", "Fault", "RunningDemo", "UnknownName", "Workload", "running", "serve"]

TICK_SECONDS = 0.5
CATCH_UP_SECONDS = 5.0
MAX_BODY_BYTES = 64 * 1024


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
