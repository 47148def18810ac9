"""A past for an SLO on a real Prometheus: two days of scraped counters become a budget that is right to 2 %."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml

from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary_stack.binaries import find_tool
from support import AETHER, aether, until

pytestmark = pytest.mark.e2e

DAY = 86400
STEP = 30
RATES = {"vip-customer-123": 5, "acme": 2, "initech": 1}
"""Requests a second: tenants with three different budgets, one of which is its own."""
BUDGETS = {
    tenant.id: float(1 - aether().objective(aether().slos[0], tenant) / 100)
    for tenant in aether().tenants
    if tenant.id in RATES
}


@dataclass(frozen=True)
class Past:
    """Counters of three tenants from `start` to `end`: steady traffic, and an outage of 40 minutes for one of them."""

    start: int
    end: int

    def counts(self, tenant: str, at: float) -> tuple[int, int]:
        """Good and bad requests since the start."""
        passed = max(0.0, at - self.start)
        rate = RATES[tenant]
        broken = min(max(0.0, at - (self.end - 20 * 3600)), 2400) if tenant == "acme" else 0.0
        bad = int(rate * 0.0003 * (passed - broken) + rate * broken * 0.5)
        return int(rate * passed) - bad, bad

    def consumed(self, tenant: str, at: float) -> float:
        """What is used of the budget, by the counters themselves."""
        good, bad = self.counts(tenant, at)
        return bad / (good + bad) / BUDGETS[tenant]

    def lines(self, at: float, stamp: str = "") -> Iterator[str]:
        for tenant in BUDGETS:
            good, bad = self.counts(tenant, at)
            yield f'http_requests_total{{tenant_id="{tenant}",code="200"}} {good}{stamp}\n'
            yield f'http_requests_total{{tenant_id="{tenant}",code="503"}} {bad}{stamp}\n'

    def blocks(self, folder: Path, scratch: Path) -> None:
        """Writes the past into a data folder, as blocks."""
        text = scratch / "past.om"
        with text.open("w") as file:
            file.write("# TYPE http_requests counter\n")
            for at in range(self.start, self.end + 1, STEP):
                file.writelines(self.lines(at, f" {at}"))
            file.write("# EOF\n")
        words = [find_tool("promtool").path, "tsdb", "create-blocks-from", "--max-block-duration=54h", "openmetrics"]
        subprocess.run([*words, text, folder], check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def prometheus(folder: Path, data: Path, config: dict[str, object]) -> Iterator[str]:
    """A Prometheus on a data folder; its address."""
    path, port = folder / "prometheus.yml", free_port()
    path.write_text(yaml.safe_dump(config))
    words = [
        find_tool("prometheus").path, f"--config.file={path}", f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=35d", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (folder / "prometheus.log").open("a") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            until("Prometheus is ready", lambda: answers(url))
            yield url
        finally:
            process.terminate()
            process.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=2).ok
    except requests.RequestException:
        return False


@contextmanager
def service(past: Past) -> Iterator[str]:
    """A target whose counters go on where the past ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(past.lines(time.time())).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def backfill(*words: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from reliary_stack.commands.backfill import backfill; backfill()"
    command = [sys.executable, "-c", code, str(AETHER), "--slo", "availability", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def values(url: str, query: str, at: float) -> dict[str, float]:
    answer = requests.get(f"{url}/api/v1/query", params={"query": query, "time": str(at)}, timeout=30).json()
    return {row["metric"]["tenant_id"]: float(row["value"][1]) for row in answer["data"]["result"]}


CONSUMED = 'tenant_slo:error_budget_consumed:ratio{slo="availability"}'


def test_by_hand_stage_after_stage_the_budget_of_the_past_is_right(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    end = int(time.time())
    past = Past(end - 2 * DAY, end)
    past.blocks(data, tmp_path)
    words = ("--history", "--run", "-o", out, "--start", str(past.start), "--end", str(past.end))
    runs = []
    for _ in range(8):
        with prometheus(tmp_path, data, {}) as url:
            runs.append(backfill(*words, "--url", url))
        assert runs[-1].returncode == 0, runs[-1].stderr
        if "filled in up to" in runs[-1].stdout:
            break
        assert "Move them" in runs[-1].stderr
        for block in out.glob("stage-*/blocks-*/*"):  # as the output says; a restart loads them at once
            shutil.move(block, data / block.name)
    assert "filled in up to" in runs[-1].stdout
    assert all("there already" in line for line in runs[-1].stderr.splitlines() if line.startswith("stage 1"))
    with prometheus(tmp_path, data, {}) as url:
        found = values(url, f"last_over_time({CONSUMED}[10m])", past.end)
        assert found == {tenant: pytest.approx(past.consumed(tenant, past.end), rel=0.02) for tenant in BUDGETS}
        early = past.end - DAY
        before = values(url, f"last_over_time({CONSUMED}[10m])", early)
        assert before == {tenant: pytest.approx(past.consumed(tenant, early), rel=0.02) for tenant in BUDGETS}
        assert found["acme"] > 5 * before["acme"], "the outage of acme is in its budget, where it happened"


def test_into_a_running_prometheus_a_new_slo_has_its_budget_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    data, out, folder = tmp_path / "data", tmp_path / "out", tmp_path / "rules"
    end = int(time.time())
    past = Past(end - 2 * DAY, end)
    past.blocks(data, tmp_path)
    folder.mkdir()
    for file in compile_stack(aether(), Site(), "0"):
        if file.path.startswith("rules/"):
            (tmp_path / file.path).write_text(file.text)
    with service(past) as target:
        config = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "30s"},
            "rule_files": [f"{folder}/*.yml"],
            "scrape_configs": [{"job_name": "api", "static_configs": [{"targets": [target]}]}],
        }
        with prometheus(tmp_path, data, config) as url:
            until("the rules have begun", lambda: bool(values(url, "tenant_slo:total:rate5m", time.time())), 90)
            first = backfill("--run", "--url", url, "--data-dir", data, "-o", out, "--start", str(past.start))
            assert first.returncode == 0, first.stderr
            print(first.stderr, first.stdout)
            # The rule is evaluated every two minutes; before it has read the past, it knows nothing of acme's outage.
            until("the next evaluation", lambda: values(url, CONSUMED, time.time()).get("acme", 0) > 1, 150)
            now = time.time()
            found = values(url, CONSUMED, now)
            assert found == {tenant: pytest.approx(past.consumed(tenant, now), rel=0.02) for tenant in BUDGETS}
            tiles = values(url, 'count_over_time(tenant_slo:total:sum5m{slo="availability"}[3d])', now)
            again = backfill("--run", "--url", url, "--data-dir", data, "-o", out, "--start", str(past.start))
            assert again.returncode == 0, again.stderr
            assert again.stderr.count("there already") == 3, again.stderr
            after = values(url, 'count_over_time(tenant_slo:total:sum5m{slo="availability"}[3d])', now)
            assert tiles == after == {tenant: pytest.approx(2 * DAY / 300, abs=4) for tenant in BUDGETS}
