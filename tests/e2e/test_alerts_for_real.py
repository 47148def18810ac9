"""Real Prometheus, Alertmanager, exporter and demo workload, with shortened durations: what arrives, what does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from reliary.definitions.spec import read_definitions
from reliary_stack.engines.engine import Running
from reliary_stack.engines.local import LocalEngine
from support import Inbox, changed_copy, inbox, until

VIP = "vip-customer-123"
SETTLED_SECONDS = 25
"""Longer than a window and a `for` of the shortened definitions: what would fire has fired by then."""
DELIVERED_SECONDS = 35
"""Longer than the group_wait of the operations channel: what has fired has arrived by then."""


def shortened(folder: Path, url: str) -> Path:
    """The example with seconds for minutes and more traffic, so that a window of seconds holds enough of it."""
    return changed_copy(
        folder,
        {
            "stack.yml": {
                "scrape_interval: 15s": "scrape_interval: 1s",
                "evaluation_interval: 30s": "evaluation_interval: 1s",
                "{enterprise: 4, pro: 2, free: 0.5}": "{enterprise: 120, pro: 120, free: 120}",
            },
            "slos.yml": {
                "over: 5m": "over: 10s",
                "over: 15m": "over: 10s",
                "for: 10m": "for: 5s",
                "for: 15m": "for: 12s",
            },
            "notify.yml": {
                "{pagerduty: {routing_key_file: pagerduty}}": f"{{webhook: '{url}/vip-pager'}}",
                "{slack: {channel: '#aether-ops', url_file: slack}}": f"{{webhook: '{url}/ops'}}",
                "{email: [vp-eng@example.com, finance@example.com]}": f"{{webhook: '{url}/finance'}}",
                "smtp: {smarthost: 'smtp.example.com:587', from: reliary@example.com, username: reliary, "
                "password_file: smtp}": "",
            },
        },
    )


@contextmanager
def running(folder: Path, definitions: Path) -> Iterator[Running]:
    reading = read_definitions(definitions)
    assert reading.stack is not None, reading.problems
    engine = LocalEngine(folder / "state")
    try:
        yield engine.up(reading.stack, definitions, lambda _: None, release=reading.digest, history=False)
    finally:
        engine.down(lambda _: None, remove_data=True)


def switch(demo: str, tenant: str, fault: str, on: bool = True) -> None:
    call = requests.put if on else requests.delete
    call(f"{demo}/faults/{tenant}/{fault}", timeout=5).raise_for_status()


def stays_silent(received: Inbox, prometheus: str) -> None:
    end = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < end:
        assert received.alerts == []
        assert _firing(prometheus) <= {("Watchdog", "")}
        time.sleep(0.5)


@pytest.mark.e2e
def test_a_collapsed_vip_cache_pages_once_and_nothing_else_ever_fires(tmp_path: Path) -> None:
    with inbox() as received, running(tmp_path, shortened(tmp_path, received.url)) as stack:
        demo = next(part.url for part in stack.parts if part.name == "demo")

        # a cold start, with healthy traffic from the first second
        stays_silent(received, stack.prometheus_url)

        # no traffic at all
        switch(demo, "all", "no_traffic")
        stays_silent(received, stack.prometheus_url)

        # one bad request in ten, for a tenant with nothing but ten requests a minute
        switch(demo, "all", "no_traffic", on=False)
        switch(demo, "acme", "one_bad_request")
        stays_silent(received, stack.prometheus_url)
        switch(demo, "acme", "one_bad_request", on=False)

        # the cache of one VIP collapses: one page, though its milder copy and the health score are past their limits
        switch(demo, VIP, "cache_collapse")
        expected = {("CacheEffectivenessDropVIP", VIP)}
        until("the page arrives", lambda: received.names("firing") == expected)
        until(
            "the milder alerts fire as well",
            lambda: (
                _firing(stack.prometheus_url)
                >= {
                    (name, VIP)
                    for name in ("CacheEffectivenessDropVIP", "CacheEffectivenessDrop", "HealthScoreDegradation")
                }
            ),
        )
        end = time.monotonic() + DELIVERED_SECONDS
        while time.monotonic() < end:
            assert received.names("firing") == expected
            time.sleep(0.5)
        path, _, labels, annotations = received.alerts[0]
        assert path == "/vip-pager"
        assert labels["severity"] == "critical"
        assert annotations["summary"] == f"{VIP}: The cache of a VIP customer has collapsed"
        assert annotations["runbook"] == "runbooks/CacheEffectivenessDropVIP.md"

        # and it is over when it is over
        switch(demo, VIP, "cache_collapse", on=False)
        until("the page is resolved", lambda: received.names("resolved") == expected, 120)


def _firing(prometheus: str) -> set[tuple[str, str]]:
    answer = requests.get(f"{prometheus}/api/v1/alerts", timeout=5).json()
    return {
        (alert["labels"]["alertname"], alert["labels"].get("tenant_id", ""))
        for alert in answer["data"]["alerts"]
        if alert["state"] == "firing"
    }
