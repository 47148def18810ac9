"""What the exporter's tests share: a small stack's configuration, and a server that answers in Prometheus' place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from reliary.exporterfile import ComponentWeight, CostSource, ExporterConfig, ExporterTenant, HealthSource
from reliary.model import Budget

HEALTH = HealthSource(
    profile="rag",
    score_query="min by (tenant_id) (aether:health_score:15m)",
    components_query="min by (tenant_id, component) (aether:health_component:point)",
    weights=tuple(
        ComponentWeight(name, Decimal(ratio))
        for name, ratio in (("cache", "0.4"), ("quality", "0.4"), ("speed", "0.2"))
    ),
)
COST = CostSource("max by (tenant_id) (aether:estimated_cost_30d_usd)")


def config(**changes: Any) -> ExporterConfig:
    """A stack of two tenants, acme and vip-123, that is asked once an hour."""
    fields: dict[str, Any] = {
        "release": "sha256:1234",
        "stack": "aether",
        "prometheus_url": "http://127.0.0.1:9",
        "refresh_seconds": 3600,
        "stale_seconds": 10800,
        "tenant_label": "tenant_id",
        "tenants": (
            ExporterTenant("acme", "pro", False, Budget(Decimal(50), Decimal(200))),
            ExporterTenant("vip-123", "enterprise", True, Budget(Decimal(500), Decimal(2000))),
        ),
        "health": HEALTH,
        "cost": COST,
    }
    return ExporterConfig(**(fields | changes))


def series(value: str, **labels: Any) -> dict[str, object]:
    return {"metric": labels, "value": [1700000000.5, value]}


def vector(*found: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()


@dataclass
class Reply:
    """One HTTP answer; with `trickle`, its body is sent again and again in chunks, for ten seconds."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    trickle: bool = False


class FakePrometheus:
    """Answers as `answer` says, given the path and the query, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.answer: Callable[[str, str], Reply] = lambda path, query: Reply(vector())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def gives(self, **values: str) -> None:
        """Answers the queries of `config` for acme: `health`, the components' names, `cost`; the rest is absent."""
        scores = vector(*(series(values[key], tenant_id="acme") for key in ("health",) if key in values))
        costs = vector(*(series(values[key], tenant_id="acme") for key in ("cost",) if key in values))
        parts = ("cache", "quality", "speed")
        components = vector(*(series(values[p], tenant_id="acme", component=p) for p in parts if p in values))
        bodies = {HEALTH.score_query: scores, HEALTH.components_query: components, COST.estimate_query: costs}
        self.answer = lambda path, query: Reply(bodies[query])


@contextmanager
def fake_prometheus() -> Iterator[FakePrometheus]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query).get("query", [""])[0]
            fake.asked.append((url.path, query))
            fake.authorizations.append(self.headers["Authorization"])
            reply = fake.answer(url.path, query)
            time.sleep(reply.delay_seconds)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.trickle:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for _ in range(500):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(reply.body), reply.body))
                    time.sleep(0.02)
                self.close_connection = True
                return
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """The client went away, as some tests want it to."""

    server = Server(("127.0.0.1", 0), Handler)
    fake = FakePrometheus(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def eventually(condition: Callable[[], bool], within_seconds: float = 20.0) -> bool:
    """Whether the condition comes true; how long that takes is not what is tested."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
