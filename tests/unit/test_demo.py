"""The demo workload: its traffic has a shape, each fault does what it says, and the HTTP edge is polite."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary_stack.demo import service as demo
from reliary_stack.demo import traffic
from reliary_stack.demo.service import RunningDemo, UnknownName, Workload, running
from reliary_stack.demo.traffic import DAY, HOUR, DemoTenant, Fault, expected_counts, rate
from reliary_stack.demo.workload import CODES, CONFIDENCES

ACME = DemoTenant("acme", 4.0)
TINY = DemoTenant("tiny / café", 0.5)
MONDAY = 1_717_372_800.0  # 2024-06-03 00:00 UTC
SATURDAY = MONDAY + 5 * DAY
PEAK = MONDAY + 14 * HOUR


@dataclass
class Clock:
    """A clock that moves when told to."""

    now: float = PEAK

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Tally:
    """What a workload has counted for one tenant."""

    workload: Workload
    tenant: str = ACME.id

    def __call__(self, series: str, **labels: str) -> float:
        value = self.workload.registry.get_sample_value(series, {"tenant_id": self.tenant, **labels})
        assert value is not None, f"no series {series} {labels}"
        return value

    @property
    def requests(self) -> float:
        return sum(self("http_requests_total", code=code) for code in CODES)

    @property
    def errors(self) -> float:
        return self.requests - self("http_requests_total", code="200")

    @property
    def answers(self) -> float:
        return sum(self("aether_answers_total", confidence=level) for level in CONFIDENCES)

    @property
    def low(self) -> float:
        return self("aether_answers_total", confidence="low")

    @property
    def lookups(self) -> float:
        return self("aether_cache_requests_total")

    @property
    def hits(self) -> float:
        return self("aether_cache_hits_total")

    @property
    def eligible(self) -> float:
        return self("aether_rerank_eligible_total")

    @property
    def calls(self) -> float:
        return self("aether_rerank_calls_total")

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens

    @property
    def input_tokens(self) -> float:
        return self("aether_tokens_total", direction="input")

    @property
    def output_tokens(self) -> float:
        return self("aether_tokens_total", direction="output")

    @property
    def slow(self) -> float:
        fast = self("http_request_duration_seconds_bucket", le="0.5")
        return self("http_request_duration_seconds_count") - fast

    @property
    def p95_seconds(self) -> float:
        """As histogram_quantile has it."""
        rank, below, under = 0.95 * self("http_request_duration_seconds_count"), 0.0, 0.0
        for bound in traffic.LATENCY_BUCKETS:
            count = self("http_request_duration_seconds_bucket", le=str(bound))
            if count >= rank:
                return below + (bound - below) * (rank - under) / (count - under)
            below, under = bound, count
        return below


def workload(seed: int = 1, clock: Clock | None = None) -> Workload:
    return Workload([ACME, TINY], seed=seed, clock=clock or Clock())


def pass_time(target: Workload, clock: Clock, seconds: float = HOUR, step: float = 10.0) -> None:
    for _ in range(round(seconds / step)):
        target.advance(clock.now, clock.now + step)
        clock.now += step


def hour_with(*faults: Fault, tenant: str = ACME.id, seed: int = 1) -> Tally:
    """One hour from 14:00 on a Monday with these faults."""
    clock = Clock()
    target = workload(seed, clock)
    for fault in faults:
        target.switch_on(tenant, fault)
    pass_time(target, clock)
    return Tally(target)


def scrape(target: Workload) -> str:
    return "\n".join(
        f"{sample.name} {sorted(sample.labels.items())} {sample.value}"
        for family in target.registry.collect()
        for sample in family.samples
    )


class TestTheShapeOfTraffic:
    @pytest.mark.parametrize("day", range(5))
    def test_a_weekday_peaks_at_14_and_is_quietest_at_3_with_a_quarter_of_the_peak(self, day: int) -> None:
        # Measured around the trough of the day: after a weekend, the night before belongs to Sunday.
        minutes = [MONDAY + day * DAY + 3 * HOUR + 60 * minute for minute in range(20 * 60)]
        assert max(minutes, key=lambda now: rate(ACME, now)) == MONDAY + day * DAY + 14 * HOUR
        assert min(minutes, key=lambda now: rate(ACME, now)) == MONDAY + day * DAY + 3 * HOUR
        assert rate(ACME, MONDAY + day * DAY + 14 * HOUR) == pytest.approx(4.0)
        assert rate(ACME, MONDAY + day * DAY + 3 * HOUR) == pytest.approx(1.0)

    @pytest.mark.parametrize("day", [SATURDAY, SATURDAY + DAY])
    def test_a_weekend_day_has_60_percent_of_a_weekday(self, day: float) -> None:
        assert rate(ACME, day + 14 * HOUR) == pytest.approx(0.6 * rate(ACME, PEAK))

    def test_traffic_never_jumps_not_even_into_the_weekend(self) -> None:
        minutes = [rate(ACME, MONDAY + 60 * minute) for minute in range(8 * 24 * 60)]
        assert max(abs(b - a) for a, b in pairwise(minutes)) < 0.01 * 4.0

    def test_noise_is_small_is_even_and_repeats_itself(self) -> None:
        factors = [traffic.noise(ACME, PEAK + 60 * minute) for minute in range(10_000)]
        assert fmean(factors) == pytest.approx(1, abs=0.01)
        assert 0.85 <= min(factors) < 0.86
        assert 1.14 < max(factors) <= 1.15
        assert factors[7] == traffic.noise(ACME, PEAK + 60 * 7 + 59)
        assert factors[7] != traffic.noise(TINY, PEAK + 60 * 7)

    def test_stored_bytes_grow_from_day_to_day(self) -> None:
        days = [traffic.storage_bytes(ACME, MONDAY + day * DAY) for day in range(10)]
        assert days == sorted(set(days))

    @pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 49.0, 51.0, 400.0])
    def test_poisson_counts_have_a_variance_equal_to_their_mean(self, mean: float) -> None:
        rng = Random(3)
        counts = [traffic.poisson(mean, rng) for _ in range(20_000)]
        assert min(counts) >= 0
        assert fmean(counts) == pytest.approx(mean, rel=0.03)
        assert pvariance(counts) == pytest.approx(mean, rel=0.06)

    @pytest.mark.parametrize("peak", [-1.0, float("nan"), float("inf")])
    def test_a_rate_that_cannot_be_is_refused(self, peak: float) -> None:
        with pytest.raises(ValueError, match="peak_requests_per_second"):
            DemoTenant("acme", peak)

    def test_time_that_runs_backwards_brings_no_requests(self) -> None:
        for faults in ([], [Fault.ONE_BAD_REQUEST]):
            assert traffic.arrivals(ACME, faults, PEAK, PEAK - 100, Random(1)) == 0


class TestTheExpectation:
    def test_it_agrees_with_an_hour_of_generated_traffic(self) -> None:
        tally, expected = hour_with(), expected_counts(ACME, PEAK, HOUR)
        assert tally.requests == pytest.approx(expected.requests, rel=0.03)
        assert tally.lookups == pytest.approx(expected.cache_requests, rel=0.03)
        assert tally.hits == pytest.approx(expected.hits, rel=0.03)
        assert tally.eligible == pytest.approx(expected.rerank_eligible, rel=0.03)
        assert tally.calls == pytest.approx(expected.rerank_calls, rel=0.05)
        assert tally.answers == pytest.approx(expected.answers, rel=0.03)
        assert tally.low == pytest.approx(expected.low, rel=0.1)
        assert tally.slow == pytest.approx(expected.slow, rel=0.5)
        assert tally.input_tokens == pytest.approx(expected.input_tokens, rel=0.05)
        assert tally.output_tokens == pytest.approx(expected.output_tokens, rel=0.05)

    def test_it_expects_an_error_in_5000_requests(self) -> None:
        expected = expected_counts(ACME, PEAK, HOUR)
        assert expected.errors / expected.requests == pytest.approx(0.00005)
        assert expected.requests - expected.errors == pytest.approx(expected.answers)

    @given(start=st.floats(MONDAY, MONDAY + 7 * DAY), cut=st.floats(0, 1), seconds=st.floats(0, 2 * DAY))
    def test_two_intervals_add_up_to_the_whole(self, start: float, cut: float, seconds: float) -> None:
        first, rest = cut * seconds, seconds - cut * seconds
        one, other = expected_counts(ACME, start, first), expected_counts(ACME, start + first, rest)
        whole = expected_counts(ACME, start, seconds)
        assert one.requests + other.requests == pytest.approx(whole.requests, rel=1e-4, abs=1e-6)

    def test_an_interval_of_nothing_holds_nothing_and_a_negative_one_is_refused(self) -> None:
        assert expected_counts(ACME, PEAK, 0).requests == 0
        with pytest.raises(ValueError, match="-1"):
            expected_counts(ACME, PEAK, -1)

    def test_a_bucket_can_be_backfilled(self) -> None:
        tally = hour_with()
        fast = tally("http_request_duration_seconds_bucket", le="0.1")
        assert fast / tally.requests == pytest.approx(traffic.healthy_share_within(0.1), rel=0.05)


class TestAnHourOfEachFault:
    def test_when_nothing_is_wrong_every_indicator_is_healthy(self) -> None:
        tally = hour_with()
        assert tally.hits / tally.lookups == pytest.approx(0.62, abs=0.02)
        assert tally.calls / tally.eligible == pytest.approx(0.45, abs=0.02)
        assert tally.low / tally.answers == pytest.approx(0.08, abs=0.01)
        assert tally.errors / tally.requests < 0.001
        assert tally.p95_seconds == pytest.approx(0.3, abs=0.05)

    def test_errors_do_happen_about_once_in_20000_requests(self) -> None:
        rng = Random(5)
        codes = [traffic.request(traffic.HEALTHY, rng).code for _ in range(400_000)]
        assert codes.count(500) == pytest.approx(20, abs=14)

    def test_quality_drop_makes_65_percent_of_the_answers_low(self) -> None:
        tally = hour_with(Fault.QUALITY_DROP)
        assert tally.low / tally.answers == pytest.approx(0.65, abs=0.02)
        assert tally.hits / tally.lookups == pytest.approx(0.62, abs=0.02)

    def test_cache_collapse_leaves_no_hit(self) -> None:
        tally = hour_with(Fault.CACHE_COLLAPSE)
        assert tally.hits == 0
        assert tally.lookups == tally.requests > 0
        assert tally.low / tally.answers == pytest.approx(0.08, abs=0.01)

    def test_an_outage_refuses_every_request_before_anything_else_is_counted(self) -> None:
        tally = hour_with(Fault.OUTAGE, Fault.QUALITY_DROP)
        assert tally("http_requests_total", code="503") == tally.requests > 10_000
        assert tally.lookups == tally.answers == tally.tokens == tally.eligible == 0

    def test_no_traffic_is_no_traffic(self) -> None:
        assert hour_with(Fault.NO_TRAFFIC, Fault.ONE_BAD_REQUEST).requests == 0

    def test_one_bad_request_is_ten_a_minute_of_which_one_is_bad_on_every_indicator(self) -> None:
        tally = hour_with(Fault.ONE_BAD_REQUEST)
        assert tally.requests == 600
        assert tally("http_requests_total", code="500") == 60
        assert tally.lookups - tally.hits == 60
        assert tally.low == 60
        assert tally.answers == 600
        assert (tally.calls, tally.eligible) == (60, 600)
        assert tally.slow == 60

    def test_one_bad_request_shows_its_bad_one_in_every_minute(self) -> None:
        clock = Clock()
        target = workload(clock=clock)
        target.switch_on(ACME.id, Fault.ONE_BAD_REQUEST)
        for minute in range(1, 6):
            pass_time(target, clock, 60, step=0.5)
            assert (Tally(target).requests, Tally(target).errors) == (10 * minute, minute)

    def test_slow_multiplies_the_latency_by_ten(self) -> None:
        usual, slow = hour_with(), hour_with(Fault.SLOW)
        total = "http_request_duration_seconds_sum"
        assert slow(total) / usual(total) == pytest.approx(10, rel=0.01)
        assert slow.slow / slow.requests > 0.9

    def test_cost_spike_multiplies_tokens_and_rerank_calls_by_twenty(self) -> None:
        usual, spike = hour_with(), hour_with(Fault.COST_SPIKE)
        assert spike.requests == usual.requests
        assert spike.tokens == 20 * usual.tokens
        assert spike.calls == 20 * usual.calls

    def test_a_fault_leaves_the_other_tenants_exactly_as_they_were(self) -> None:
        def others(tally: Tally) -> list[str]:
            return [line for line in scrape(tally.workload).splitlines() if repr(TINY.id) in line]

        assert others(hour_with(*Fault)) == others(hour_with())

    def test_all_means_every_tenant(self) -> None:
        tally = hour_with(Fault.OUTAGE, tenant="all")
        for tenant in (ACME.id, TINY.id):
            each = Tally(tally.workload, tenant)
            assert each.errors == each.requests > 0


class TestFaultSwitches:
    def test_a_fault_with_seconds_ends_by_itself_and_says_how_long_it_lasts(self) -> None:
        clock = Clock()
        target = workload(clock=clock)
        target.switch_on(ACME.id, Fault.OUTAGE, 30)
        clock.now += 10
        assert [each.seconds_left for each in target.active_faults()] == [20]
        clock.now += 20
        assert target.active_faults() == []
        assert target.ask(ACME.id).code == 200

    def test_a_fault_without_seconds_stays_until_it_is_removed(self) -> None:
        clock = Clock()
        target = workload(clock=clock)
        target.switch_on(ACME.id, Fault.OUTAGE)
        clock.now += 365 * DAY
        assert [each.seconds_left for each in target.active_faults()] == [None]
        target.switch_off(ACME.id, Fault.OUTAGE)
        assert target.active_faults() == []

    def test_what_was_switched_on_for_all_can_be_switched_off_for_one(self) -> None:
        target = workload()
        target.switch_on("all", Fault.SLOW)
        target.switch_off(ACME.id, Fault.SLOW)
        assert [each.tenant for each in target.active_faults()] == [TINY.id]

    def test_switching_off_what_is_not_on_is_fine(self) -> None:
        target = workload()
        target.switch_on("all", Fault.SLOW)
        target.switch_off("all", Fault.OUTAGE)
        assert len(target.active_faults()) == 2

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
    def test_seconds_that_make_no_sense_are_refused(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="positive"):
            workload().switch_on(ACME.id, Fault.SLOW, seconds)

    @pytest.mark.parametrize(("tenant", "fault"), [("nobody", "slow"), (ACME.id, "meteor")])
    def test_unknown_names_are_refused_with_a_next_step(self, tenant: str, fault: str) -> None:
        with pytest.raises(UnknownName) as refusal:
            workload().switch_on(tenant, fault)
        assert refusal.value.next_step

    @pytest.mark.parametrize("ids", [["acme", "acme"], ["all"]])
    def test_tenants_that_cannot_be_told_apart_are_refused(self, ids: list[str]) -> None:
        with pytest.raises(ValueError, match="distinct"):
            Workload([DemoTenant(each, 1) for each in ids], seed=1)


class TestTheCounters:
    def test_every_series_is_there_with_zero_before_the_first_request(self) -> None:
        for tenant in (ACME.id, TINY.id):
            tally = Tally(workload(), tenant)
            assert tally.requests == tally.lookups == tally.hits == tally.eligible == tally.calls == 0
            assert tally.answers == tally.tokens == tally("http_request_duration_seconds_count") == 0
            assert tally("aether_storage_bytes") > 0

    def test_only_the_promised_names_are_exposed_and_all_carry_the_tenant(self) -> None:
        samples = [sample for family in workload().registry.collect() for sample in family.samples]
        assert all("tenant_id" in sample.labels for sample in samples)
        assert {sample.name for sample in samples} == {
            "http_requests_total",
            "http_request_duration_seconds_bucket",
            "http_request_duration_seconds_count",
            "http_request_duration_seconds_sum",
            "aether_cache_requests_total",
            "aether_cache_hits_total",
            "aether_rerank_eligible_total",
            "aether_rerank_calls_total",
            "aether_answers_total",
            "aether_tokens_total",
            "aether_storage_bytes",
        }

    def test_the_same_seed_gives_the_same_counts_and_another_seed_others(self) -> None:
        assert scrape(hour_with(seed=1).workload) == scrape(hour_with(seed=1).workload)
        assert scrape(hour_with(seed=1).workload) != scrape(hour_with(seed=2).workload)

    def test_questions_asked_by_hand_do_not_change_the_generated_traffic(self) -> None:
        clock = Clock()
        target = workload(clock=clock)
        for _ in range(100):
            target.ask(ACME.id)
        pass_time(target, clock)
        assert Tally(target).requests == 100 + hour_with().requests

    @settings(max_examples=60, deadline=None)
    @given(
        faults=st.sets(st.sampled_from(list(Fault))),
        seed=st.integers(0, 2**32),
        start=st.floats(MONDAY, MONDAY + 7 * DAY),
        asked=st.integers(0, 20),
    )
    def test_no_part_is_ever_larger_than_its_whole(
        self, faults: set[Fault], seed: int, start: float, asked: int
    ) -> None:
        clock = Clock(start)
        target = workload(seed, clock)
        for fault in faults:
            target.switch_on("all", fault)
        pass_time(target, clock, 120)
        for _ in range(asked):
            target.ask(ACME.id)
        tally = Tally(target)
        assert asked <= tally.requests
        assert 0 <= tally.hits <= tally.lookups <= tally.requests
        assert 0 <= tally.low <= tally.answers <= tally.requests
        assert 0 <= tally.errors <= tally.requests == tally("http_request_duration_seconds_count")
        assert 0 <= tally.calls <= tally.eligible
        assert 0 <= tally.output_tokens <= tally.input_tokens


class TestTheGenerator:
    def ticks(self, *times: float) -> list[tuple[float, float]]:
        """The intervals that are generated while the clock shows these times, one after the other."""
        clock, coming, seen = Clock(times[0]), list(times[1:]), []

        def sleep(_seconds: float) -> bool:
            if not coming:
                return True
            clock.now = coming.pop(0)
            return False

        demo.generate(lambda since, until: seen.append((since, until)), clock=clock, sleep=sleep)
        return seen

    def test_it_covers_time_without_gaps_or_overlaps(self) -> None:
        assert self.ticks(100.0, 100.5, 101.25, 103.0) == [(100.0, 100.5), (100.5, 101.25), (101.25, 103.0)]

    def test_a_long_sleep_is_not_made_up_for_by_a_burst(self) -> None:
        assert self.ticks(100.0, 9000.0) == [(8995.0, 9000.0)]

    def test_it_goes_on_after_the_clock_was_set_back(self) -> None:
        assert self.ticks(100.0, 50.0, 50.5)[1:] == [(50.0, 50.5)]


@dataclass(frozen=True)
class Reply:
    status: int
    text: str
    content_type: str

    @property
    def json(self) -> object:
        return json.loads(self.text)

    def refuses_with(self, status: int) -> bool:
        told = isinstance(self.json, dict) and set(self.json) == {"error", "next_step"}
        return told and self.status == status


@dataclass(frozen=True)
class Client:
    running: RunningDemo
    clock: Clock

    def __call__(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = HTTPConnection(self.running.url.removeprefix("http://"), timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Reply(response.status, response.read().decode(), response.headers["Content-Type"])
        finally:
            connection.close()

    def ask(self, tenant: str = ACME.id) -> Reply:
        return self("POST", "/v1/ask", b'{"question": "why?"}', X_Tenant_Id=tenant)


@pytest.fixture
def client() -> Iterator[Client]:
    """A demo on a free port whose clock stands still, so that nothing moves by itself."""
    clock = Clock()
    with running([ACME, TINY], ("127.0.0.1", 0), seed=1, clock=clock) as service:
        yield Client(service, clock)


class TestTheHttpEdge:
    def test_health_says_ok(self, client: Client) -> None:
        reply = client("GET", "/health")
        assert (reply.status, reply.text) == (200, "ok")

    def test_metrics_come_as_plain_text_unless_open_metrics_are_asked_for(self, client: Client) -> None:
        plain = client("GET", "/metrics")
        opened = client("GET", "/metrics", Accept="application/openmetrics-text;version=1.0.0")
        assert plain.content_type.startswith("text/plain")
        assert 'http_requests_total{code="500",tenant_id="acme"} 0.0' in plain.text
        assert opened.content_type.startswith("application/openmetrics-text")
        assert opened.text.endswith("# EOF\n")
        assert "_created" not in plain.text + opened.text

    def test_a_question_gets_an_answer_and_is_counted(self, client: Client) -> None:
        reply = client.ask()
        assert reply.status == 200
        assert isinstance(reply.json, dict)
        assert set(reply.json) == {"answer", "confidence", "cached"}
        assert reply.json["confidence"] in CONFIDENCES
        assert isinstance(reply.json["cached"], bool)
        assert Tally(client.running.workload).requests == 1

    def test_a_question_needs_a_tenant_that_is_known(self, client: Client) -> None:
        assert client("POST", "/v1/ask", b"{}").refuses_with(400)
        assert client.ask("nobody").refuses_with(404)
        assert Tally(client.running.workload).requests == 0

    def test_a_tenant_name_in_utf8_is_understood_in_the_header(self, client: Client) -> None:
        assert client.ask(TINY.id.encode().decode("latin-1")).status == 200

    def test_during_an_outage_questions_of_that_tenant_alone_get_503(self, client: Client) -> None:
        client("PUT", f"/faults/{ACME.id}/outage")
        assert client.ask().refuses_with(503)
        assert client.ask(TINY.id.encode().decode("latin-1")).status == 200
        assert Tally(client.running.workload)("http_requests_total", code="503") == 1

    def test_one_question_in_ten_fails_with_500_under_one_bad_request(self, client: Client) -> None:
        client("PUT", f"/faults/{ACME.id}/one_bad_request")
        codes = [client.ask().status for _ in range(20)]
        assert sorted(codes) == [200] * 18 + [500] * 2

    def test_faults_are_listed_with_the_seconds_they_have_left(self, client: Client) -> None:
        assert client("GET", "/faults").json == []
        client("PUT", "/faults/acme/slow?seconds=90")
        client("PUT", "/faults/acme/outage")
        client.clock.now += 30
        assert client("GET", "/faults").json == [
            {"tenant": "acme", "fault": "outage", "seconds_left": None},
            {"tenant": "acme", "fault": "slow", "seconds_left": 60.0},
        ]

    def test_faults_can_be_removed_one_by_one_or_all_at_once(self, client: Client) -> None:
        client("PUT", "/faults/all/slow")
        client("PUT", "/faults/acme/outage")
        assert client("GET", "/faults").text.count('"fault"') == 3
        assert "outage" not in client("DELETE", "/faults/acme/outage").text
        assert "slow" in client("GET", "/faults").text
        assert client("DELETE", "/faults").json == []

    def test_a_tenant_in_a_path_is_percent_decoded_even_its_slashes(self, client: Client) -> None:
        reply = client("PUT", "/faults/tiny%20%2F%20caf%C3%A9/slow")
        assert reply.json == [{"tenant": TINY.id, "fault": "slow", "seconds_left": None}]

    @pytest.mark.parametrize("path", ["/faults/nobody/slow", "/faults/acme/meteor"])
    def test_unknown_tenants_and_faults_are_not_found(self, client: Client, path: str) -> None:
        assert client("PUT", path).refuses_with(404)
        assert client("DELETE", path).refuses_with(404)
        assert client("GET", "/faults").json == []

    @pytest.mark.parametrize(
        "query",
        [
            "seconds=0",
            "seconds=-5",
            "seconds=soon",
            "seconds=nan",
            "seconds=",
            "second=5",
            "seconds=1&seconds=2",
        ],
    )
    def test_a_duration_that_cannot_be_read_switches_nothing_on(self, client: Client, query: str) -> None:
        assert client("PUT", f"/faults/acme/outage?{query}").refuses_with(400)
        assert client("GET", "/faults").json == []

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/"), ("POST", "/metrics"), ("PUT", "/faults/acme"), ("GET", "//[")]
    )
    def test_what_does_not_exist_is_told_what_does(self, client: Client, method: str, path: str) -> None:
        assert client(method, path).refuses_with(404)

    def test_a_body_of_64_kib_is_taken_and_one_byte_more_is_not(self, client: Client) -> None:
        assert client("POST", "/v1/ask", b"x" * 65_536, X_Tenant_Id=ACME.id).status == 200
        assert client("POST", "/v1/ask", b"x" * 65_537, X_Tenant_Id=ACME.id).refuses_with(413)
        assert Tally(client.running.workload).requests == 1

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Content_Length": "-1"}, 400),
            ({"Content_Length": "9" * 5000}, 400),
            ({"Transfer_Encoding": "chunked"}, 411),
        ],
    )
    def test_a_body_without_a_readable_length_is_refused(
        self, client: Client, headers: dict[str, str], status: int
    ) -> None:
        assert client("POST", "/v1/ask", None, X_Tenant_Id=ACME.id, **headers).refuses_with(status)

    def test_traffic_is_generated_as_the_clock_moves(self) -> None:
        clock = Clock()

        def hurried() -> float:
            clock.now += 1
            return clock.now

        with running([ACME], ("127.0.0.1", 0), seed=1, clock=hurried) as service:
            tally = Tally(service.workload)
            assert eventually(lambda: tally.requests > 0)

    def test_the_port_is_free_again_when_the_demo_has_stopped(self) -> None:
        with running([ACME], ("127.0.0.1", 0), seed=1) as service:
            port = int(service.url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), running([ACME], ("127.0.0.1", port), seed=1):
                pass
        with running([ACME], ("127.0.0.1", port), seed=1) as again:
            assert Client(again, Clock())("GET", "/health").status == 200


class TestServe:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_serves_until_it_is_told_to_stop_then_leaves_cleanly_and_frees_the_port(
        self, number: signal.Signals
    ) -> None:
        port = free_port()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from reliary_stack.demo.service import DemoTenant, serve;"
                f"serve([DemoTenant('acme', 4.0)], ('127.0.0.1', {port}), seed=1); print('left')",
            ],
            env={**os.environ, "PYTHONPATH": str(Path(demo.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert eventually(lambda: process.poll() is not None or answers(port))
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert (process.returncode, out, err) == (0, "left\n", "")
        with running([ACME], ("127.0.0.1", port), seed=1) as again:
            assert again.url.endswith(str(port))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true; the minute only keeps a broken build from hanging."""
    give_up = time.monotonic() + 60
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
