"""What is published of a state: which series, with which labels, and which are absent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reliary import __version__
from reliary.exporterfile import ComponentWeight, ExporterConfig, ExporterTenant
from reliary.model import Budget
from reliary_exporter.collector import families
from reliary_exporter.snapshot import Activity, Fault, Reading, Snapshot, State, TenantValue
from unit.test_exporter_fakes import HEALTH, config

NOW = 1000.0


def reading(*values: tuple[str, str, float], taken_at: float = NOW) -> Reading:
    return Reading(taken_at, tuple(TenantValue(*value) for value in values))


def full() -> Snapshot:
    return Snapshot(
        complete_at=NOW,
        health=reading(("acme", "", 87.5)),
        components=reading(("acme", "cache", 90.0), ("acme", "quality", 80.0), ("acme", "speed", 95.0)),
        costs=reading(("acme", "", 50.0)),
    )


def published(
    snapshot: Snapshot, now: float = NOW, conf: ExporterConfig | None = None, activity: Activity | None = None
) -> dict[str, float]:
    """Each series in its usual spelling, with its value."""
    state = State(conf or config(), snapshot, activity or Activity())
    return {
        sample.name + "{" + ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items())) + "}": sample.value
        for family in families(state, now)
        for sample in family.samples
    }


def names(series: dict[str, float]) -> set[str]:
    return {spelled.partition("{")[0] for spelled in series}


OWN = {"reliary_build_info", "reliary_refreshes_total", "reliary_refresh_errors_total"}
FACTS = {"reliary_tenant_info", "reliary_cost_budget_usd", "reliary_health_component_weight_ratio"}
MEASURED = {
    "reliary_health_score",
    "reliary_health_component_score",
    "reliary_health_coverage_ratio",
    "reliary_cost_estimated_usd",
    "reliary_cost_budget_used_ratio",
}


def test_before_the_first_answer_there_are_its_own_counters_and_the_facts_of_the_definitions() -> None:
    series = published(Snapshot())
    assert names(series) == OWN | FACTS
    assert series[f'reliary_build_info{{release="sha256:1234",version="{__version__}"}}'] == 1
    assert series["reliary_refreshes_total{}"] == 0


def test_every_reason_for_errors_is_there_from_the_start_so_that_its_first_increase_is_seen() -> None:
    errors = {spelled: value for spelled, value in published(Snapshot()).items() if "errors" in spelled}
    assert errors == {
        'reliary_refresh_errors_total{reason="unreachable"}': 0,
        'reliary_refresh_errors_total{reason="bad_answer"}': 0,
        'reliary_refresh_errors_total{reason="config"}': 0,
    }


def test_rounds_errors_and_the_last_refresh_are_its_own_state() -> None:
    activity = Activity().after(0.25, (Fault("unreachable", ""),))
    series = published(full(), activity=activity)
    assert series["reliary_refreshes_total{}"] == 1
    assert series['reliary_refresh_errors_total{reason="unreachable"}'] == 1
    assert series["reliary_refresh_duration_seconds{}"] == 0.25
    assert series["reliary_last_refresh_timestamp_seconds{}"] == NOW


def test_tenants_are_published_with_tier_and_vip() -> None:
    series = published(Snapshot())
    assert series['reliary_tenant_info{tenant_id="acme",tier="pro",vip="false"}'] == 1
    assert series['reliary_tenant_info{tenant_id="vip-123",tier="enterprise",vip="true"}'] == 1


def test_the_tenant_label_is_the_one_of_the_stack() -> None:
    series = published(full(), conf=config(tenant_label="customer"))
    assert not any("tenant_id=" in spelled for spelled in series)
    assert 'reliary_health_score{customer="acme",profile="rag"}' in series


def test_health_is_published_with_its_components_their_weights_and_the_coverage() -> None:
    series = published(full())
    assert series['reliary_health_score{profile="rag",tenant_id="acme"}'] == 87.5
    assert series['reliary_health_component_score{component="quality",tenant_id="acme"}'] == 80.0
    assert series['reliary_health_component_weight_ratio{component="quality"}'] == 0.4
    assert series['reliary_health_coverage_ratio{tenant_id="acme"}'] == 1.0


def test_cost_is_published_with_its_limits_and_the_share_of_the_critical_one() -> None:
    series = published(full())
    assert series['reliary_cost_estimated_usd{period="30d",tenant_id="acme"}'] == 50.0
    assert series['reliary_cost_budget_usd{level="warn",tenant_id="acme"}'] == 50.0
    assert series['reliary_cost_budget_usd{level="critical",tenant_id="acme"}'] == 200.0
    assert series['reliary_cost_budget_used_ratio{tenant_id="acme"}'] == 0.25


def test_what_prometheus_does_not_have_is_absent_and_never_zero() -> None:
    series = published(full())
    assert not any("vip-123" in spelled for spelled in series if spelled.startswith("reliary_health_score"))
    assert not any("vip-123" in spelled for spelled in series if spelled.startswith("reliary_cost_estimated"))
    assert not any("vip-123" in spelled for spelled in series if spelled.startswith("reliary_cost_budget_used"))


def test_empty_answers_publish_no_values() -> None:
    empty = Snapshot(NOW, reading(), reading(), reading())
    assert names(published(empty)) & MEASURED == {"reliary_health_coverage_ratio"}


def test_a_listed_tenant_of_whom_nothing_was_measured_has_coverage_zero_and_no_score() -> None:
    series = published(replace(full(), health=reading(("acme", "", 87.5), ("vip-123", "", 100.0))))
    assert series['reliary_health_coverage_ratio{tenant_id="vip-123"}'] == 0.0
    assert 'reliary_health_score{profile="rag",tenant_id="vip-123"}' not in series


@pytest.mark.parametrize(
    ("measured", "coverage", "scored"),
    [
        (("cache", "quality", "speed"), 1.0, True),
        (("cache", "quality"), 0.8, True),
        (("cache", "speed"), 0.6, True),
        (("cache",), 0.4, False),
        (("speed",), 0.2, False),
        (("speed", "not-a-component"), 0.2, False),
    ],
)
def test_a_score_needs_components_with_at_least_three_fifths_of_the_weight(
    measured: tuple[str, ...], coverage: float, scored: bool
) -> None:
    components = reading(*(("acme", component, 100.0) for component in measured))
    series = published(replace(full(), components=components))
    assert series['reliary_health_coverage_ratio{tenant_id="acme"}'] == coverage
    assert ('reliary_health_score{profile="rag",tenant_id="acme"}' in series) == scored


def test_three_fifths_are_three_fifths_although_floats_sum_to_a_little_less() -> None:
    ratios = ("0.175", "0.35", "0.075", "0.4")
    assert 0.175 + 0.35 + 0.075 < 0.6
    weights = tuple(ComponentWeight(f"c{number}", Decimal(ratio)) for number, ratio in enumerate(ratios))
    conf = config(health=replace(HEALTH, weights=weights))
    components = reading(("acme", "c0", 1.0), ("acme", "c1", 1.0), ("acme", "c2", 1.0))
    series = published(replace(full(), components=components), conf=conf)
    assert series['reliary_health_coverage_ratio{tenant_id="acme"}'] == 0.6
    assert 'reliary_health_score{profile="rag",tenant_id="acme"}' in series


def test_a_score_without_its_components_is_not_published_because_its_coverage_is_unknown() -> None:
    series = published(replace(full(), components=None))
    assert names(series) & MEASURED == {"reliary_cost_estimated_usd", "reliary_cost_budget_used_ratio"}


def test_stale_values_are_absent_and_everything_else_stays() -> None:
    conf = config(stale_seconds=60)
    assert names(published(full(), now=NOW + 59, conf=conf)) >= MEASURED
    series = published(full(), now=NOW + 60, conf=conf)
    assert names(series) == OWN | FACTS | {"reliary_last_refresh_timestamp_seconds"}


def test_values_become_stale_by_query_and_not_all_at_once() -> None:
    old_costs = replace(full(), costs=reading(("acme", "", 50.0), taken_at=NOW - 60))
    series = published(old_costs, conf=config(stale_seconds=60))
    assert names(series) & MEASURED == {name for name in MEASURED if "health" in name}


def test_a_tenant_that_nobody_listed_shows_what_prometheus_says_but_has_no_budget() -> None:
    series = published(replace(full(), costs=reading(("stranger", "", 7.0))))
    assert series['reliary_cost_estimated_usd{period="30d",tenant_id="stranger"}'] == 7.0
    assert {spelled for spelled in series if "stranger" in spelled} == {
        'reliary_cost_estimated_usd{period="30d",tenant_id="stranger"}'
    }


def test_a_budget_of_zero_has_no_used_share() -> None:
    free = config(tenants=(ExporterTenant("acme", "free", False, Budget(Decimal(0), Decimal(0))),))
    series = published(full(), conf=free)
    assert series['reliary_cost_budget_usd{level="critical",tenant_id="acme"}'] == 0.0
    assert 'reliary_cost_budget_used_ratio{tenant_id="acme"}' not in series


def test_a_stack_without_health_and_costs_has_no_such_series() -> None:
    bare = config(health=None, cost=None, tenants=(ExporterTenant("acme", "pro", False, None),))
    assert names(published(Snapshot(NOW), conf=bare)) == OWN | {
        "reliary_tenant_info",
        "reliary_last_refresh_timestamp_seconds",
    }
