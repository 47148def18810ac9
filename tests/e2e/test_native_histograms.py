"""Latency classes on native histograms, on a real Prometheus 2.42: promtool of that version knows none.

Histograms are written with the remote-write protocol, encoded here by hand: thirty lines, and no other dependency.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator

import pytest
import requests

from reliary.artifacts import Site
from reliary.compile import compile_stack
from slolab import Labels, Prometheus, labels, prometheus, stack_from
from support import until

pytestmark = pytest.mark.e2e

STEP, STEPS = 15, 30
SLOS = """
slos:
  latency:
    histogram: request_seconds
    native: true
    within: {default: 1s, fast: 500ms}
    objective: 90
    window: 30d
    alerts: none
"""
TENANTS = """
tiers: {fast: {}, slow: {}}
tenants:
  - {id: busy,    tier: slow}
  - {id: hurried, tier: fast}
  - {id: perfect, tier: slow}
  - {id: idle,    tier: slow}
"""
STACK = "stack: shop\nevaluation_interval: 2s\nservices: {api: {scrape: ['a:1']}}\n"
# Requests of a step by the power of two that bounds their bucket: -1 is (0.25, 0.5], 0 is (0.5, 1], 2 is (2, 4].
REQUESTS = {
    "busy": {-1: 50, 0: 30, 2: 20},
    "hurried": {-1: 50, 0: 30, 2: 20},
    "perfect": {-1: 50, 0: 50},
    "idle": {-1: 0, 0: 0, 2: 0},
}
BEFORE = {"idle": {-1: 70, 0: 20, 2: 10}}
"""What a histogram held before the first step."""


# -- remote write: protobuf in a block of snappy that is not compressed


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def zigzag(value: int) -> bytes:
    return varint(2 * value if value >= 0 else -2 * value - 1)


def whole(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def signed(field: int, value: int) -> bytes:
    return varint(field << 3) + zigzag(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def histogram(buckets: dict[int, int], at_milliseconds: int) -> bytes:
    """A native histogram of schema 0 (bounds are powers of two) with all buckets between the first and the last."""
    first, last = min(buckets), max(buckets)
    counts = [buckets.get(index, 0) for index in range(first, last + 1)]
    deltas = [now - before for now, before in zip(counts, [0, *counts[:-1]], strict=True)]
    return b"".join(
        [
            whole(1, sum(counts)),
            double(3, 1.0),
            signed(4, 0),
            double(5, 1e-128),
            whole(6, 0),
            message(11, signed(1, first) + whole(2, len(counts))),
            message(12, b"".join(map(zigzag, deltas))),
            whole(15, at_milliseconds),
        ]
    )


def series(name: str, tenant: str, histograms: list[bytes]) -> bytes:
    pairs = (("__name__", name), ("tenant_id", tenant))
    named = b"".join(message(1, message(1, key.encode()) + message(2, value.encode())) for key, value in pairs)
    return message(1, named + b"".join(message(4, each) for each in histograms))


def snappy(content: bytes) -> bytes:
    chunks = [content[start : start + 60_000] for start in range(0, len(content), 60_000)]
    return varint(len(content)) + b"".join(b"\xf4" + struct.pack("<H", len(each) - 1) + each for each in chunks)


def write(server: Prometheus, body: bytes) -> None:
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    done = requests.post(f"{server.url}/api/v1/write", data=snappy(body), headers=headers, timeout=10)
    assert done.status_code == 204, done.text


def history(tenant: str, until_milliseconds: int) -> list[bytes]:
    """Cumulative histograms every 15 s, up to now."""
    counts = {index: BEFORE.get(tenant, {}).get(index, 0) for index in REQUESTS[tenant]}
    written = []
    for step in range(STEPS):
        counts = {index: counts[index] + more for index, more in REQUESTS[tenant].items()}
        written.append(histogram(counts, until_milliseconds - 1000 * STEP * (STEPS - 1 - step)))
    return written


# -- what the rules make of it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The compiled rules, evaluated over a history that has just been written."""
    folder = tmp_path_factory.mktemp("native")
    stack = stack_from(folder, slos=SLOS, tenants=TENANTS, stack=STACK)
    for file in compile_stack(stack, Site(), "test"):
        if file.path.startswith("rules/"):
            path = folder / file.path
            path.parent.mkdir(exist_ok=True)
            # Tiles and facts come every few minutes, which is longer than this test should take.
            path.write_text(re.sub("interval: [25]m", "interval: 2s", file.text), encoding="utf-8")
    config = f"global: {{evaluation_interval: 2s}}\nrule_files: ['{folder}/rules/*.yml']\n"
    flags = ("--enable-feature=native-histograms", "--web.enable-remote-write-receiver")
    with prometheus(folder / "server", *flags, config=config) as running:
        now = int(time.time() * 1000)
        write(running, b"".join(series("request_seconds", tenant, history(tenant, now)) for tenant in REQUESTS))
        until("the rules ran", lambda: len(ask(running, "tenant_slo:success:ratio")) >= 3, 60)
        yield running


def ask(server: Prometheus, query: str) -> dict[str, float]:
    """Values by tenant, now."""
    return {dict(which)["tenant_id"]: value for which, value in server.at(query, time.time()).items()}


def of(tenant: str) -> Labels:
    return labels(tenant_id=tenant, slo="latency")


def test_all_requests_are_counted(server: Prometheus) -> None:
    """As it was just after the last histogram had been written."""
    rates = ask(server, "max_over_time(tenant_slo:total:rate5m[5m])")
    assert rates == {tenant: pytest.approx(sum(REQUESTS[tenant].values()) / STEP, rel=0.05) for tenant in REQUESTS}


def test_slow_requests_are_those_above_the_bound_of_the_tier(server: Prometheus) -> None:
    """80 of 100 within a second; for a tier that was promised half of that, 50."""
    shares = ask(server, "tenant_slo:errors:rate5m / (tenant_slo:total:rate5m > 0)")
    assert shares == {
        "busy": pytest.approx(0.2),
        "hurried": pytest.approx(0.5),
        "perfect": pytest.approx(0, abs=1e-9),
    }


def test_nobody_is_no_number_and_the_idle_one_has_no_errors(server: Prometheus) -> None:
    assert ask(server, "tenant_slo:errors:rate5m")["idle"] == 0
    ours = '{__name__=~"(tenant_|tier_)?slo:.+"}'
    assert server.at(f"count({ours}) - count({ours} > -Inf)", time.time()) == {frozenset(): 0}
    assert "idle" not in ask(server, "tenant_slo:burn_rate:1h")


def test_budgets_and_states_follow(server: Prometheus) -> None:
    assert ask(server, "tenant_slo:burn_rate:5m") == {
        "busy": pytest.approx(2),
        "hurried": pytest.approx(5),
        "perfect": pytest.approx(0, abs=1e-9),
    }
    assert ask(server, "tenant_slo:state:code")["idle"] == 3
