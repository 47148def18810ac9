"""A round of queries: what it keeps when some of them fail, and when values become too old."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from reliary_exporter.prometheus import BadAnswer, PrometheusError, Sample, Unreachable
from reliary_exporter.snapshot import Activity, Fault, Reading, Snapshot, State, TenantValue, refreshed
from unit.test_exporter_fakes import COST, HEALTH, config

SCORE, COMPONENTS, ESTIMATE = HEALTH.score_query, HEALTH.components_query, COST.estimate_query


def of(tenant: str, value: float, **labels: str) -> Sample:
    return Sample((("tenant_id", tenant), *labels.items()), value)


@dataclass
class Prometheus:
    """Gives one sample for acme, or raises what is planned for a query."""

    failing: dict[str, PrometheusError] = field(default_factory=dict)
    samples: tuple[Sample, ...] = (of("acme", 80.0),)
    asked: list[str] = field(default_factory=list)

    def instant(self, query: str) -> tuple[Sample, ...]:
        self.asked.append(query)
        if query in self.failing:
            raise self.failing[query]
        return self.samples


def read(taken_at: float) -> Reading:
    return Reading(taken_at, (TenantValue("acme", "", 80.0),))


def state(snapshot: Snapshot) -> State:
    return State(config(stale_seconds=60), snapshot, Activity())


def test_a_round_reads_score_components_and_cost_and_is_complete() -> None:
    prometheus = Prometheus()
    snapshot = refreshed(Snapshot(), config(), prometheus, now=100.0)
    assert prometheus.asked == [SCORE, COMPONENTS, ESTIMATE]
    assert snapshot == Snapshot(100.0, read(100.0), read(100.0), read(100.0))


def test_a_stack_without_health_and_cost_asks_nothing_and_is_complete() -> None:
    prometheus = Prometheus()
    assert refreshed(Snapshot(), config(health=None, cost=None), prometheus, now=100.0) == Snapshot(100.0)
    assert prometheus.asked == []


def test_a_failing_query_keeps_its_last_reading_and_does_not_touch_the_others() -> None:
    before = Snapshot(100.0, read(100.0), read(100.0), read(100.0))
    after = refreshed(before, config(), Prometheus({COMPONENTS: BadAnswer("broken")}), now=130.0)
    assert after == Snapshot(100.0, read(130.0), read(100.0), read(130.0), (Fault("bad_answer", "broken"),))


def test_a_server_that_is_away_is_asked_once_per_round() -> None:
    prometheus = Prometheus({query: Unreachable("nobody there") for query in (SCORE, COMPONENTS, ESTIMATE)})
    before = Snapshot(100.0, read(100.0), read(100.0), read(100.0))
    after = refreshed(before, config(), prometheus, now=130.0)
    assert prometheus.asked == [SCORE]
    assert after == Snapshot(100.0, read(100.0), read(100.0), read(100.0), (Fault("unreachable", "nobody there"),))


def test_series_without_a_tenant_and_infinite_values_are_left_out() -> None:
    samples = (of("", 1.0), Sample((), 2.0), of("a", math.inf), of("b", -math.inf), of("c", 3.0))
    snapshot = refreshed(Snapshot(), config(), Prometheus(samples=samples), now=1.0)
    assert snapshot.costs == Reading(1.0, (TenantValue("c", "", 3.0),))


def test_duplicates_become_one_value_because_a_scrape_with_duplicates_is_lost_as_a_whole() -> None:
    samples = (of("a", 1.0, job="x"), of("a", 2.0, job="y"), of("a", 3.0, component="cache"))
    snapshot = refreshed(Snapshot(), config(), Prometheus(samples=samples), now=1.0)
    assert snapshot.costs is not None
    assert [(value.tenant, value.component) for value in snapshot.costs.values] == [("a", ""), ("a", "cache")]


def test_the_tenant_label_is_the_one_of_the_stack() -> None:
    samples = (Sample((("customer", "c"), ("tenant_id", "t")), 1.0),)
    snapshot = refreshed(Snapshot(), config(tenant_label="customer"), Prometheus(samples=samples), now=1.0)
    assert snapshot.costs == Reading(1.0, (TenantValue("c", "", 1.0),))


@pytest.mark.parametrize(("now", "shown"), [(100.0, True), (159.9, True), (160.0, False), (99.0, True), (40.0, False)])
def test_a_reading_is_shown_until_it_is_stale_and_not_when_the_clock_was_set_back_far(now: float, shown: bool) -> None:
    assert (state(Snapshot()).fresh(read(100.0), now) is not None) == shown


def test_no_reading_is_never_shown() -> None:
    assert state(Snapshot()).fresh(None, 0.0) is None


def test_the_next_expiry_is_that_of_the_oldest_reading_that_is_still_shown() -> None:
    snapshot = Snapshot(health=read(100.0), components=read(130.0), costs=None)
    assert state(snapshot).next_expiry(140.0) == 160.0
    assert state(snapshot).next_expiry(160.0) == 190.0
    assert state(snapshot).next_expiry(190.0) == math.inf


def test_it_is_ready_while_the_last_complete_round_is_young() -> None:
    assert state(Snapshot(complete_at=100.0)).unready(159.0) is None


def test_it_is_not_ready_before_the_first_complete_round_and_says_why() -> None:
    assert state(Snapshot()).unready(0.0) == "no refresh has succeeded yet"
    away = Snapshot(faults=(Fault("unreachable", "nobody there"),))
    assert state(away).unready(0.0) == "no refresh has succeeded yet; nobody there"


def test_it_is_not_ready_when_the_last_complete_round_is_too_old_even_if_single_queries_work() -> None:
    snapshot = Snapshot(100.0, health=read(170.0), faults=(Fault("bad_answer", "no number"),))
    assert state(snapshot).unready(175.0) == "the last good refresh is 75 s old, the limit is 60 s; no number"


def test_rounds_and_faults_are_counted_by_reason() -> None:
    faults = (Fault("config", "x"), Fault("bad_answer", "y"), Fault("bad_answer", "z"))
    counted = Activity().after(0.5, ()).after(0.7, faults)
    assert (counted.rounds, counted.seconds) == (2, 0.7)
    assert dict(counted.counts) == {"unreachable": 0, "bad_answer": 2, "config": 1}
