"""Thousands of tenants in real time: a target that is scraped, a ruler with the emitted rules, and how it keeps up."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from harness import fleet, report
from harness.remotewrite import write
from harness.replay import STORAGE
from harness.server import Server, prometheus
from harness.stacks import COUNTER, compiled, stack, texts

SCRAPE_SECONDS = 30
WARM_UP_SECONDS = 100
LOOK_SECONDS = 10
RATES_HOURS = 7  # windows up to 6h read the 30 s series


def run(size: int, minutes: float, days: float, seed: int) -> None:
    """Prints how the groups keep up, and whether an evaluation was missed."""
    tenants = fleet.fleet(size, seed)
    parameters = {
        "tenants": f"{size:,}",
        "SLOs": 1,
        "scrape and evaluation": f"{SCRAPE_SECONDS} s",
        "minutes": minutes,
        "days of tiles": days,
        "hours of 5m rates": RATES_HOURS,
        "seed": seed,
    }
    report.heading("many tenants in real time", parameters)
    files = compiled(stack([tenant.name for tenant in tenants], [(fleet.SLO, "99.9", "30d")]))
    with target(tenants) as address, prometheus(*STORAGE) as server:
        server.configure([], _scrape(address))
        _past(server, tenants, days, seed)
        time.sleep(WARM_UP_SECONDS)  # rates need some scrapes
        idle_cpu = server.cpu_seconds()
        reload_seconds = server.configure(texts(files), _scrape(address))
        print(f"reload of {sum(len(text) for _, text in texts(files)):,} bytes: {reload_seconds:.2f} s")
        _watch(server, minutes, idle_cpu)


def _past(server: Server, tenants: Sequence[fleet.Tenant], days: float, seed: int) -> None:
    """Recorded series until now; the raw counters are scraped."""
    report.progress("writing history")
    now = int(time.time()) // 30 * 30
    steps = int(days * 86400) // fleet.STEP_SECONDS
    times = (now + fleet.STEP_SECONDS * np.arange(-steps, 0)) * 1000
    random = np.random.default_rng(seed)
    rate_steps = RATES_HOURS * 3600 // fleet.STEP_SECONDS

    def series() -> Iterator[fleet.Sample]:
        for tenant in tenants:
            total = random.poisson(tenant.per_second * fleet.STEP_SECONDS, steps).astype(float)
            bad = random.binomial(total.astype(np.int64), tenant.bad_share).astype(float)
            found = fleet.recorded(tenant, times, bad, total, rate_steps)
            yield from (one for one in found if not one[0]["__name__"].startswith("slo:"))

    write(server, series())


def _scrape(address: str) -> str:
    return (
        f"scrape_configs:\n- job_name: api\n  scrape_interval: {SCRAPE_SECONDS}s\n"
        f"  static_configs: [{{targets: ['{address}']}}]\n"
    )


def _watch(server: Server, minutes: float, before: float) -> None:
    """Looks at the groups now and then. Late: took longer than the interval, so that the next one waited."""
    durations: dict[tuple[str, float], list[float]] = defaultdict(list)
    started, mib = time.monotonic(), 0.0
    while time.monotonic() - started < minutes * 60:
        time.sleep(LOOK_SECONDS)
        report.progress(f"{(time.monotonic() - started) / 60:.1f} min, {server.resident_mib():.0f} MiB")
        mib = max(mib, server.resident_mib())
        for group in server.rules():
            durations[group["name"], group["interval"]].append(float(group["evaluationTime"]))
    seconds, cpu = time.monotonic() - started, server.cpu_seconds() - before
    report.table(
        ("group", "interval s", "mean s", "max s", "late"),
        (
            (
                name,
                f"{interval:.0f}",
                f"{np.mean(found):.2f}",
                f"{max(found):.2f}",
                f"{np.mean(np.array(found) > interval):.0%}",
            )
            for (name, interval), found in durations.items()
        ),
    )
    _verdict(server, seconds, cpu, mib)


def _verdict(server: Server, seconds: float, cpu: float, mib: float) -> None:
    done, missed, failed, last = (
        server.own_metric(f"prometheus_rule_{name}")
        for name in (
            "group_iterations_total",
            "group_iterations_missed_total",
            "evaluation_failures_total",
            "group_last_evaluation_samples",
        )
    )
    alive = server.own_metric("prometheus_tsdb_head_series")
    print(f"{done:.0f} evaluations of groups, {failed:.0f} failed; {last:,.0f} samples a round, {alive:,.0f} series")
    load = os.getloadavg()[1]
    print(f"{cpu / seconds:.2f} cores (scrapes and rules), {mib:,.0f} MiB resident at most; machine load {load:.1f}\n")
    report.verdict(
        "no missed evaluation", missed == 0 and failed == 0, f"{missed:.0f} missed in {seconds / 60:.0f} min"
    )


@contextmanager
def target(tenants: Sequence[fleet.Tenant]) -> Iterator[str]:
    """A page of counters that grow with time; gives its address."""
    started = time.monotonic()
    rates = [
        (f'{COUNTER}{{tenant_id="{tenant.name}",code="{code}",instance="{instance}"}}', tenant.per_second * share / 2)
        for tenant in tenants
        for code, share in (("200", 1 - tenant.bad_share), ("500", tenant.bad_share))
        for instance in fleet.INSTANCES
    ]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            age = time.monotonic() - started
            text = "".join(f"{name} {int(rate * age)}\n" for name, rate in rates).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
