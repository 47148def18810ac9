"""The status table: what was recorded is judged, what was not is no data, and the worst are seen first."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from reliary import names
from reliary.artifacts import Labels
from reliary.definitions.spec import read_definitions
from reliary.model import Stack, Tenant
from reliary_exporter.prometheus import Sample
from reliary_stack.status import Answers, Firing, PartsUp, Reading, Status, TenantStatus, as_json, questions, table

ACME, MEMBER = "acme", "vip-customer-123"
BURN, REMAINING = names.burn_rate(3600), names.SLO_BUDGET_REMAINING
HEALTH, COST = "aether:health_score:15m", "aether:estimated_cost_30d_usd"
CACHE, UNSURE = "aether:cache_hit_ratio:5m", "aether:lowconfidence_pct:15m"
FIRING = 'ALERTS{alertstate="firing"}'
FAILURES = "sum(increase(prometheus_rule_evaluation_failures_total[1h]))"


@pytest.fixture(scope="module")
def aether() -> Stack:
    stack = read_definitions(Path(__file__).parents[2] / "examples/aether").stack
    assert stack is not None
    return stack


def sample(value: float, **labels: str) -> Sample:
    found: Labels = tuple(sorted(labels.items()))
    return Sample(found, value)


def of(tenant: str, value: float, **labels: str) -> Sample:
    return sample(value, tenant_id=tenant, **labels)


def alert(name: str, severity: str = "warning", **labels: str) -> Sample:
    return sample(1, alertname=name, severity=severity, alertstate="firing", **labels)


def row(stack: Stack, answers: Answers, tenant: str = ACME) -> TenantStatus:
    [found] = table(stack, answers, only=[tenant]).tenants
    return found


def indicator(row: TenantStatus, name: str) -> Reading:
    return next(each.reading for each in row.indicators if each.indicator == name)


class TestNoData:
    def test_is_never_zero(self, aether: Stack) -> None:
        acme = row(aether, {})
        nothing = Reading(None, "unknown")
        assert [(each.burn_rate_1h, each.budget_remaining_ratio) for each in acme.objectives] == [
            (nothing, nothing)
        ] * 2
        assert {each.reading for each in acme.indicators} == {nothing}
        assert acme.health_score == acme.cost_30d_usd == nothing
        assert acme.firing == ()

    def test_of_one_tenant_leaves_the_others_alone(self, aether: Stack) -> None:
        answers = {HEALTH: [of(MEMBER, 90)]}
        assert row(aether, answers).health_score == Reading(None, "unknown")
        assert row(aether, answers, MEMBER).health_score == Reading(90, "good")

    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
    def test_is_what_a_division_by_nothing_gives(self, aether: Stack, value: float) -> None:
        assert row(aether, {COST: [of(ACME, value)]}).cost_30d_usd == Reading(None, "unknown")

    def test_on_rule_failures_is_not_zero_failures(self, aether: Stack) -> None:
        assert table(aether, {}).stack.rule_failures_1h == Reading(None, "unknown")
        assert table(aether, {FAILURES: [sample(0)]}).stack.rule_failures_1h == Reading(0, "good")
        assert table(aether, {FAILURES: [sample(2.5)]}).stack.rule_failures_1h == Reading(2.5, "bad")


class TestColumns:
    def test_are_only_those_that_the_stack_has(self, aether: Stack) -> None:
        bare = replace(aether, slos=(), indicators=(), health=None, costs=None)
        assert questions(bare) == (FIRING, "up", FAILURES)
        acme = row(bare, {})
        assert (acme.objectives, acme.indicators, acme.health_score, acme.cost_30d_usd) == ((), (), None, None)

    def test_show_the_objective_that_holds_for_the_tenant(self, aether: Stack) -> None:
        shown = {each.slo: str(each.objective_percent) for each in row(aether, {}, MEMBER).objectives}
        assert shown == {"availability": "99.99", "latency": "99"}

    def test_tell_slos_apart(self, aether: Stack) -> None:
        answers = {BURN: [of(ACME, 0.5, slo="availability"), of(ACME, 2, slo="latency")]}
        assert [each.burn_rate_1h.value for each in row(aether, answers).objectives] == [0.5, 2]


class TestLevels:
    @pytest.mark.parametrize(
        ("burn", "level"), [(0, "good"), (1, "good"), (1.1, "warning"), (5.9, "warning"), (6, "bad")]
    )
    def test_of_burn_follow_the_burn_rate_table(self, aether: Stack, burn: float, level: str) -> None:
        reading = row(aether, {BURN: [of(ACME, burn, slo="availability")]}).objectives[0].burn_rate_1h
        assert reading == Reading(burn, level)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("remaining", "level"), [(1, "good"), (0.25, "good"), (0.24, "warning"), (0, "warning"), (-0.01, "bad")]
    )
    def test_of_budgets_warn_before_they_are_spent(self, aether: Stack, remaining: float, level: str) -> None:
        reading = row(aether, {REMAINING: [of(ACME, remaining, slo="availability")]}).objectives[0]
        assert reading.budget_remaining_ratio.level == level

    @pytest.mark.parametrize(
        ("tenant", "value", "level"),
        [
            pytest.param(ACME, 0.31, "good", id="above every limit"),
            pytest.param(ACME, 0.10, "warning", id="a limit for VIPs is not one for others"),
            pytest.param(MEMBER, 0.25, "warning", id="the general limit holds for VIPs too"),
            pytest.param(MEMBER, 0.10, "bad", id="a critical limit"),
        ],
    )
    def test_of_indicators_follow_the_thresholds(self, aether: Stack, tenant: str, value: float, level: str) -> None:
        assert indicator(row(aether, {CACHE: [of(tenant, value)]}, tenant), "cache_hit_ratio").level == level

    def test_of_indicators_that_may_not_rise(self, aether: Stack) -> None:
        assert indicator(row(aether, {UNSURE: [of(ACME, 31)]}), "lowconfidence_pct").level == "warning"

    def test_are_none_for_indicators_without_a_threshold(self, aether: Stack) -> None:
        answers = {"aether:rerank_utilization_pct:15m": [of(ACME, 99)]}
        assert indicator(row(aether, answers), "rerank_utilization_pct") == Reading(99, "plain")

    @pytest.mark.parametrize(("score", "level"), [(80, "good"), (79.9, "warning"), (60, "warning"), (59.9, "bad")])
    def test_of_health_follow_its_bands(self, aether: Stack, score: float, level: str) -> None:
        assert row(aether, {HEALTH: [of(ACME, score)]}).health_score == Reading(score, level)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("tenant", "usd", "level"),
        [
            ("umbrella", 50, "good"),
            ("umbrella", 51, "warning"),
            ("umbrella", 201, "bad"),
            (ACME, 99, "good"),
            ("fabrikam", 201, "good"),
            ("initech", 81, "bad"),
        ],
    )
    def test_of_cost_follow_the_tenants_own_budget(self, aether: Stack, tenant: str, usd: float, level: str) -> None:
        reading = row(aether, {COST: [of(tenant, usd)]}, tenant).cost_30d_usd
        assert reading is not None
        assert reading.level == level


class TestFiring:
    def test_is_sorted_and_said_once(self, aether: Stack) -> None:
        twice = [alert("B", tenant_id=ACME, slo="latency"), alert("B", tenant_id=ACME, slo="availability")]
        answers = {FIRING: [*twice, alert("A", "page", tenant_id=ACME)]}
        assert row(aether, answers).firing == (Firing("A", "page"), Firing("B", "warning"))

    def test_leaves_out_the_watchdog_that_always_fires(self, aether: Stack) -> None:
        assert table(aether, {FIRING: [alert("Watchdog")]}).stack.firing == ()

    def test_of_no_tenant_is_the_stacks(self, aether: Stack) -> None:
        assert table(aether, {FIRING: [alert("ExporterDown")]}).stack.firing == (Firing("ExporterDown", "warning"),)

    def test_of_an_unlisted_tenant_is_not_lost(self, aether: Stack) -> None:
        status = table(aether, {FIRING: [alert("Drop", tenant_id="stranger")]})
        assert status.stack.firing == (Firing("Drop", "warning"),)
        assert status.stack.unlisted == ("stranger",)


class TestStack:
    def test_counts_targets_by_job(self, aether: Stack) -> None:
        up = [sample(1, job="api", instance="a"), sample(0, job="api", instance="b"), sample(1, job="prometheus")]
        assert table(aether, {"up": up}).stack.jobs == (PartsUp("api", 1, 2), PartsUp("prometheus", 1, 1))

    def test_names_tenants_that_are_not_defined(self, aether: Stack) -> None:
        answers = {HEALTH: [of("zorro", 1), of(ACME, 1)], BURN: [of("batman", 1, slo="latency")]}
        assert table(aether, answers).stack.unlisted == ("batman", "zorro")


class TestManyTenants:
    @staticmethod
    def crowd(stack: Stack, count: int) -> Stack:
        template = stack.tenants[-1]
        return replace(stack, tenants=tuple(replace(template, id=f"t{number:03}") for number in range(count)))

    @staticmethod
    def ids(status: Status) -> list[str]:
        return [tenant.id for tenant in status.tenants]

    def test_up_to_forty_come_in_the_order_of_the_definitions(self, aether: Stack) -> None:
        status = table(self.crowd(aether, 40), {HEALTH: [of("t039", 1)]})
        assert self.ids(status) == [f"t{number:03}" for number in range(40)]
        assert status.more == 0

    def test_of_more_the_worst_come_first(self, aether: Stack) -> None:
        answers = {
            HEALTH: [of("t050", 10), of("t051", 95)],
            REMAINING: [of("t052", -2, slo="latency"), of("t051", 0.05, slo="availability")],
            FIRING: [alert("Drop", tenant_id="t049")],
        }
        status = table(self.crowd(aether, 100), answers)
        assert self.ids(status)[:4] == ["t049", "t052", "t051", "t050"]
        assert (len(status.tenants), status.more) == (40, 60)

    def test_all_are_there_for_those_who_want_them(self, aether: Stack) -> None:
        assert len(table(self.crowd(aether, 100), {}, limit=None).tenants) == 100

    def test_some_can_be_asked_for(self, aether: Stack) -> None:
        status = table(aether, {}, only=["globex", ACME, "nobody"])
        assert (self.ids(status), status.more) == ([ACME, "globex"], 0)


@pytest.mark.parametrize(("code", "state"), [(0.0, "ok"), (2.0, "exhausted"), (4.0, "no data"), (9.0, "")])
def test_the_state_is_told_in_words(aether: Stack, code: float, state: str) -> None:
    answers = {names.SLO_STATE: [of(ACME, code, slo="availability")]}
    assert [each.state for each in row(aether, answers).objectives] == [state, ""]


class TestJson:
    def test_has_numbers_and_null(self, aether: Stack) -> None:
        answers = {BURN: [of(MEMBER, 0.5, slo="availability")]}
        data = json.loads(json.dumps(as_json(table(aether, answers, only=[MEMBER]))))
        [tenant] = data["tenants"]
        assert (tenant["id"], tenant["vip"], tenant["firing"]) == (MEMBER, True, [])
        assert tenant["objectives"][0] == {
            "slo": "availability",
            "objective_percent": 99.99,
            "burn_rate_1h": {"value": 0.5, "level": "good"},
            "budget_remaining_ratio": {"value": None, "level": "unknown"},
            "state": "",
        }
        nothing = {"value": None, "level": "unknown"}
        assert tenant["indicators"][0] == {"indicator": "cache_hit_ratio", "percent": False, "reading": nothing}


def test_follows_another_tenant_label(aether: Stack) -> None:
    stack = replace(aether, tenant_label="customer")
    assert row(stack, {HEALTH: [sample(90, customer=ACME)]}).health_score == Reading(90, "good")


def test_tenants_keep_what_the_definitions_say_of_them(aether: Stack) -> None:
    def facts(tenant: Tenant | TenantStatus) -> tuple[str, str, str, bool]:
        return tenant.id, tenant.name, tenant.tier, tenant.vip

    assert [facts(tenant) for tenant in table(aether, {}).tenants] == [facts(tenant) for tenant in aether.tenants]
