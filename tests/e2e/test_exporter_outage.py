"""The exporter beside a real Prometheus that records the values, scrapes the exporter, goes away and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from reliary.exporterfile import ComponentWeight, CostSource, ExporterConfig, ExporterTenant, HealthSource, to_text
from reliary.model import Budget
from reliary_exporter.app import Exporter
from reliary_exporter.prometheus import BadAnswer, PrometheusClient, PrometheusError

pytestmark = pytest.mark.e2e

# A tenant id with everything that has to be escaped on its way: YAML, JSON, the exposition and its parser in Go.
AWKWARD = 'the "quoted" \\ one\n🦊'

CONFIG = ExporterConfig(
    release="sha256:1234",
    stack="aether",
    prometheus_url="http://127.0.0.1:0",
    refresh_seconds=1,
    stale_seconds=4,
    tenant_label="tenant_id",
    tenants=(
        ExporterTenant("acme", "pro", False, Budget(Decimal(50), Decimal(200))),
        ExporterTenant(AWKWARD, "pro", True, Budget(Decimal(50), Decimal(200))),
    ),
    health=HealthSource(
        profile="rag",
        score_query="min by (tenant_id) (aether:health_score:15m)",
        components_query="min by (tenant_id, component) (aether:health_component:point)",
        weights=(ComponentWeight("cache", Decimal("0.6")), ComponentWeight("quality", Decimal("0.4"))),
    ),
    cost=CostSource("max by (tenant_id) (aether:estimated_cost_30d_usd)"),
)


def constant(record: str, value: float, **labels: str) -> dict[str, object]:
    return {"record": record, "expr": f"vector({value})", "labels": labels}


RULES = [
    constant("aether:health_score:15m", 87.5, tenant_id="acme"),
    constant("aether:health_component:point", 90, tenant_id="acme", component="cache"),
    constant("aether:health_component:point", 80, tenant_id="acme", component="quality"),
    constant("aether:estimated_cost_30d_usd", 50, tenant_id="acme"),
    constant("aether:estimated_cost_30d_usd", 20, tenant_id=AWKWARD),
]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def eventually(condition: Callable[[], bool], within_seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer; status 0 when nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError as error:
        return 0, str(error)


@dataclass
class PrometheusServer:
    """A Prometheus in a folder of its own, always on the same port."""

    binary: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def configure(self, exporter_port: int) -> None:
        # YAML reads JSON, except for characters that are spelled in surrogates.
        rules = {"groups": [{"name": "constants", "interval": "1s", "rules": RULES}]}
        (self.folder / "rules.yml").write_text(json.dumps(rules, ensure_ascii=False), "utf-8")
        scrape = {"job_name": "reliary", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scrape],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(settings))

    def start(self) -> None:
        with (self.folder / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.binary,
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        assert eventually(lambda: get(self.port, "/-/ready")[0] == 200 or self.ended()), "Prometheus did not start"
        assert not self.ended(), (self.folder / "prometheus.log").read_text()

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(timeout=60)
            self.process = None

    def says(self, query: str) -> float | None:
        """The one value of a query, or None."""
        client = PrometheusClient(f"http://127.0.0.1:{self.port}")
        try:
            samples = client.instant(query)
        except PrometheusError:
            return None
        finally:
            client.close()
        return samples[0].value if len(samples) == 1 else None


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[PrometheusServer]:
    from reliary_stack.binaries import find_tool

    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = PrometheusServer(find_tool("prometheus").path, folder)
    yield server
    server.stop()


@pytest.fixture
def exporter(tmp_path: Path, prometheus: PrometheusServer) -> Iterator[Exporter]:
    path = tmp_path / "exporter.json"
    path.write_text(to_text(replace(CONFIG, prometheus_url=f"http://127.0.0.1:{prometheus.port}")))
    with Exporter(path, ("127.0.0.1", 0)) as exporter:
        prometheus.configure(exporter.port)
        yield exporter


HEALTH = 'reliary_health_score{profile="rag",tenant_id="acme"} 87.5\n'
COST = 'reliary_cost_estimated_usd{period="30d",tenant_id="acme"} 50.0\n'
MEASURED = ("reliary_health_score", "reliary_health_component_score", "reliary_cost_estimated_usd")


def test_the_exporter_outlives_an_outage_of_prometheus(prometheus: PrometheusServer, exporter: Exporter) -> None:
    def ready() -> bool:
        return get(exporter.port, "/readyz")[0] == 200

    def metrics() -> str:
        return get(exporter.port, "/metrics")[1]

    assert eventually(lambda: get(exporter.port, "/readyz")[0] == 503), "nobody is there yet"

    prometheus.start()
    assert eventually(lambda: ready() and HEALTH in metrics() and COST in metrics())
    assert 'reliary_health_coverage_ratio{tenant_id="acme"} 1.0\n' in metrics()

    prometheus.stop()
    assert eventually(lambda: get(exporter.port, "/readyz")[0] == 503)
    assert "Connection refused" in get(exporter.port, "/readyz")[1]
    assert eventually(lambda: not any(name in metrics() for name in MEASURED)), "stale values are absent"
    assert 'reliary_build_info{release="sha256:1234"' in metrics()
    assert "reliary_tenant_info{" in metrics()
    assert get(exporter.port, "/healthz")[0] == 200

    prometheus.start()
    assert eventually(lambda: ready() and HEALTH in metrics() and COST in metrics()), "it recovers by itself"


def test_a_prometheus_that_hangs_is_like_one_that_is_away(prometheus: PrometheusServer, exporter: Exporter) -> None:
    prometheus.start()
    assert eventually(lambda: HEALTH in get(exporter.port, "/metrics")[1])
    assert prometheus.process is not None
    prometheus.process.send_signal(signal.SIGSTOP)
    assert eventually(lambda: "timed out" in get(exporter.port, "/readyz")[1])
    assert eventually(lambda: HEALTH not in get(exporter.port, "/metrics")[1])
    prometheus.process.send_signal(signal.SIGCONT)
    assert eventually(lambda: HEALTH in get(exporter.port, "/metrics")[1])


def test_prometheus_reads_what_the_exporter_publishes(prometheus: PrometheusServer, exporter: Exporter) -> None:
    prometheus.start()
    assert eventually(lambda: prometheus.says('reliary_health_score{tenant_id="acme"}') == 87.5)
    assert prometheus.says('up{job="reliary"}') == 1
    # A JSON string is a PromQL string, as long as no character is spelled in surrogates.
    awkward = json.dumps(AWKWARD, ensure_ascii=False)
    assert prometheus.says(f"reliary_tenant_info{{tenant_id={awkward}}}") == 1
    assert eventually(lambda: prometheus.says(f"reliary_cost_budget_used_ratio{{tenant_id={awkward}}}") == 0.1)
    assert prometheus.says("reliary_refreshes_total > 0") is not None


def test_the_client_understands_a_real_prometheus(prometheus: PrometheusServer, exporter: Exporter) -> None:
    client = PrometheusClient(f"http://127.0.0.1:{prometheus.port}")
    assert not client.ready()
    prometheus.start()
    assert client.ready()
    assert [sample.value for sample in client.instant("vector(1) or vector(2)")] == [1.0]
    assert [sample.value for sample in client.instant("42")] == [42.0]
    assert client.instant("vector(0) / 0") == ()
    assert client.instant("absent_metric") == ()
    with pytest.raises(BadAnswer, match="parse error"):
        client.instant("up{")
    with pytest.raises(BadAnswer, match="neither a vector nor a scalar"):
        client.instant("up[1m]")
    client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_success(tmp_path: Path, number: signal.Signals) -> None:
    path, port = tmp_path / "exporter.json", free_port()
    path.write_text(to_text(replace(CONFIG, prometheus_url=f"http://127.0.0.1:{free_port()}")))
    code = "import sys; from pathlib import Path; from reliary_exporter.app import serve; "
    code += "serve(Path(sys.argv[1]), ('127.0.0.1', int(sys.argv[2])))"
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(port)], env=dict(os.environ))
    try:
        assert eventually(lambda: get(port, "/healthz")[0] == 200)
        # An idle connection, as a scraper keeps one, must not hold up the end.
        scraper = HTTPConnection("127.0.0.1", port, timeout=20)
        scraper.request("GET", "/metrics")
        scraper.getresponse().read()
        kept = scraper.sock
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert kept.recv(1) == b""
        kept.close()
        assert get(port, "/healthz")[0] == 0
    finally:
        process.kill()
        process.wait()
