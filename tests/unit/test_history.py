"""The past of a demo: deterministic, on time, and in agreement with what the demo counts and the rules record."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from reliary import names
from reliary.definitions.spec import read_definitions
from reliary.model import Costs, Latency, Price, Query, Ratio, Selector, Slo, Stack
from reliary_stack.demo import traffic
from reliary_stack.demo.history import HistoryError, backfill, demo_tenants, openmetrics
from reliary_stack.demo.service import Workload
from reliary_stack.demo.traffic import COUNTED, DAY, HOUR, expected_counts

NOW = 1_717_423_277.9
END = NOW // 300 * 300 - 600
ACME, MEMBER = "acme", "vip-customer-123"


@pytest.fixture(scope="module")
def example() -> Stack:
    stack = read_definitions(Path(__file__).parents[2] / "examples/aether").stack
    assert stack is not None
    return stack


@pytest.fixture(scope="module")
def aether(example: Stack) -> Stack:
    """The example with two of its tenants."""
    return replace(example, tenants=tuple(tenant for tenant in example.tenants if tenant.id in (ACME, MEMBER)))


def only(stack: Stack, *slos: Slo) -> Stack:
    """The stack with one tenant, these SLOs and no prices."""
    [acme] = [tenant for tenant in stack.tenants if tenant.id == ACME]
    return replace(stack, tenants=(acme,), slos=slos, costs=None)


def points(stack: Stack, series: str, **labels: str) -> list[tuple[float, float]]:
    """Time and value of one series."""
    return [
        (float(sample.timestamp or 0), sample.value)
        for sample in samples(stack)
        if sample.name == series and labels.items() <= sample.labels.items()
    ]


@cache
def samples(stack: Stack) -> list[Sample]:
    """All of the past, as a strict reader finds it."""
    families = text_string_to_metric_families("".join(openmetrics(stack, NOW)))  # type: ignore[no-untyped-call]
    return [sample for family in families for sample in family.samples]


def availability(stack: Stack) -> Slo:
    return next(slo for slo in stack.slos if slo.name == "availability")


class TestTimes:
    def test_end_ten_minutes_ago_on_a_full_five_minutes(self, aether: Stack) -> None:
        for series in (names.cost_tile_series(aether), names.SLO_TOTAL_TILE):
            assert max(points(aether, series))[0] == END

    def test_of_costs_are_every_tile_of_eight_days(self, aether: Stack) -> None:
        times = [time for time, _ in points(aether, "aether:cost_usd:sum5m", tenant_id=ACME, resource="rerank_call")]
        assert times == [END - 300 * back for back in reversed(range(8 * 288))]

    def test_of_slos_are_every_hour_of_the_longest_window(self, aether: Stack) -> None:
        times = [time for time, _ in points(aether, names.SLO_ERRORS_TILE, tenant_id=ACME, slo="availability")]
        assert times == [END - HOUR * back for back in reversed(range(30 * 24))]

    def test_follow_a_longer_window(self, aether: Stack) -> None:
        longer = replace(availability(aether), window_seconds=90 * 86400)
        assert len(points(only(aether, longer), names.SLO_TOTAL_TILE)) == 90 * 24


class TestValues:
    def test_are_the_same_for_the_same_end(self, aether: Stack) -> None:
        assert list(openmetrics(aether, NOW)) == list(openmetrics(aether, NOW + 1))

    def test_of_slos_sum_to_the_events_of_the_window(self, aether: Stack) -> None:
        """`sum_over_time` of the tiles, times the evaluation interval, is a count: as the rules use it."""
        [tenant] = [tenant for tenant in demo_tenants(aether) if tenant.id == MEMBER]
        counts = expected_counts(tenant, END - 30 * DAY, 30 * DAY)
        for series, expected in ((names.SLO_TOTAL_TILE, counts.requests), (names.SLO_ERRORS_TILE, counts.errors)):
            found = points(aether, series, tenant_id=MEMBER, slo="availability")
            assert sum(value for _, value in found) * 30 == pytest.approx(expected)

    def test_of_a_latency_slo_count_what_misses_its_bucket(self, aether: Stack) -> None:
        [total] = {value for time, value in points(aether, names.SLO_TOTAL_TILE, tenant_id=ACME, slo="latency")[-1:]}
        [slow] = {value for time, value in points(aether, names.SLO_ERRORS_TILE, tenant_id=ACME, slo="latency")[-1:]}
        assert slow / total == pytest.approx(1 - traffic.healthy_share_within(1.0))

    def test_of_an_slo_on_good_events_are_the_others(self, aether: Stack) -> None:
        hits = Ratio(Selector("aether_cache_hits_total"), "good", Selector("aether_cache_requests_total"))
        stack = only(aether, replace(availability(aether), source=hits))
        [total] = {value for _, value in points(stack, names.SLO_TOTAL_TILE)[-1:]}
        [errors] = {value for _, value in points(stack, names.SLO_ERRORS_TILE)[-1:]}
        assert errors / total == pytest.approx(1 - traffic.HEALTHY.cache_hit_ratio)

    def test_of_costs_are_what_the_price_says(self, aether: Stack) -> None:
        [tenant] = [tenant for tenant in demo_tenants(aether) if tenant.id == ACME]
        _, usd = points(aether, "aether:cost_usd:sum5m", tenant_id=ACME, resource="input_tokens")[-1]
        assert usd == pytest.approx(expected_counts(tenant, END - 300, 300).input_tokens * 0.01 / 1_000_000)


class TestScope:
    def test_every_listed_counter_is_one_that_the_demo_exposes(self, aether: Stack) -> None:
        registry = Workload(demo_tenants(aether), seed=1, clock=lambda: NOW).registry
        exposed = {sample.name for family in registry.collect() for sample in family.samples}
        assert {selector.partition("{")[0] for selector in COUNTED} <= exposed

    def test_covers_the_whole_example(self, example: Stack) -> None:
        series = {line.split("}")[0] for line in openmetrics(example, NOW)} - {"# EOF\n"}
        assert example.costs is not None
        assert len(series) == len(example.tenants) * (len(example.costs.prices) + 2 * len(example.slos))

    @pytest.mark.parametrize(
        "source",
        [
            Ratio(Selector("my_errors_total"), "bad", Selector("http_requests_total")),
            Ratio(Query("sum by (tenant_id) (increase(x[{window}]))"), "bad", Selector("http_requests_total")),
            Latency(Selector("my_seconds"), Decimal(1)),
            Latency(Selector('http_request_duration_seconds{path="/"}'), Decimal(1)),
        ],
    )
    def test_leaves_out_slos_that_the_demo_does_not_count(self, aether: Stack, source: Ratio | Latency) -> None:
        assert list(openmetrics(only(aether, replace(availability(aether), source=source)), NOW)) == ["# EOF\n"]

    def test_leaves_out_prices_that_the_demo_does_not_count(self, aether: Stack) -> None:
        assert aether.costs is not None
        mine = Price("gpu", Selector("gpu_seconds_total"), Decimal(1), Decimal(1))
        stack = replace(only(aether), costs=Costs((mine,), aether.costs.budget))
        assert list(openmetrics(stack, NOW)) == ["# EOF\n"]

    def test_takes_spaces_in_selectors_as_they_come(self, aether: Stack) -> None:
        spaced = Ratio(Selector('http_requests_total{ code =~ "5.." }'), "bad", Selector("http_requests_total"))
        assert points(only(aether, replace(availability(aether), source=spaced)), names.SLO_ERRORS_TILE)

    def test_is_empty_without_a_demo(self, aether: Stack) -> None:
        assert list(openmetrics(replace(aether, demo=None), NOW)) == ["# EOF\n"]

    def test_skips_tiers_without_traffic(self, example: Stack) -> None:
        assert example.demo is not None
        stack = replace(example, demo=replace(example.demo, requests_per_second=(("pro", Decimal(2)),)))
        assert {tenant.id for tenant in demo_tenants(stack)} == {"acme", "globex", "initech"}

    def test_survives_tenants_with_awkward_names(self, aether: Stack) -> None:
        awkward = 'the "quoted" \\ one\n🦊'
        tenant = replace(aether.tenants[0], id=awkward)
        stack = replace(only(aether, availability(aether)), tenants=(tenant,))
        assert points(stack, names.SLO_TOTAL_TILE, tenant_id=awkward)


class TestBackfill:
    """With programs in promtool's place."""

    @pytest.fixture
    def stack(self, aether: Stack) -> Stack:
        return only(aether, availability(aether))

    @staticmethod
    def promtool(folder: Path, script: str) -> Path:
        program = folder / "promtool"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(stat.S_IRWXU)
        return program

    @staticmethod
    def listing(folder: Path) -> Iterator[str]:
        return (path.name for path in folder.iterdir())

    def test_gives_promtool_the_text_and_keeps_its_blocks(self, stack: Stack, tmp_path: Path) -> None:
        program = self.promtool(tmp_path, 'for last; do before=$this; this=$last; done; cp "$before" "$this/block"')
        backfill(stack, NOW, tmp_path / "data", program)
        assert (tmp_path / "data/block").read_text() == "".join(openmetrics(stack, NOW))
        assert set(self.listing(tmp_path)) == {"promtool", "data"}

    def test_asks_for_few_blocks(self, stack: Stack, tmp_path: Path) -> None:
        program = self.promtool(tmp_path, 'for last; do :; done; echo "$*" > "$last/arguments"')
        backfill(stack, NOW, tmp_path / "data", program)
        assert "--max-block-duration=54h openmetrics" in (tmp_path / "data/arguments").read_text()

    def test_leaves_nothing_when_promtool_refuses(self, stack: Stack, tmp_path: Path) -> None:
        program = self.promtool(tmp_path, 'for last; do :; done; touch "$last/half"; echo "no EOF" >&2; exit 1')
        with pytest.raises(HistoryError, match="refused") as refused:
            backfill(stack, NOW, tmp_path / "data", program)
        assert refused.value.log_lines == ("no EOF",)
        assert set(self.listing(tmp_path)) == {"promtool"}


def test_tenants_have_the_traffic_of_their_tier(example: Stack) -> None:
    peaks = {tenant.id: tenant.peak_requests_per_second for tenant in demo_tenants(example)}
    tiers = {"free": 0.5, "pro": 2.0, "enterprise": 4.0}
    assert peaks == {tenant.id: tiers[tenant.tier] for tenant in example.tenants}
