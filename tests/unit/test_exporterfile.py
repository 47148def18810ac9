"""The exporter's file: what the compiler puts in, and what the exporter refuses to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary.artifacts import Site
from reliary.exporterfile import ExporterFileError, ExporterTenant, exporter_config, from_text, to_text
from reliary.model import Budget, Component, Costs, HealthScore, Stack, Tenant, Tier
from unit.test_exporter_fakes import config

DEFAULT, PRO, OWN = (Budget(Decimal(warn), Decimal(critical)) for warn, critical in ((50, 200), (80, 300), (1, 2)))


def stack(**changes: Any) -> Stack:
    weights = (("cache", 50), ("quality", 30), ("speed", 20))
    fields: dict[str, Any] = dict.fromkeys(Stack.__dataclass_fields__, ()) | {
        "name": "aether",
        "namespace": "aether",
        "tenant_label": "customer",
        "evaluation_interval_seconds": 30,
        "tiers": (Tier("free", "", None), Tier("pro", "", PRO)),
        "tenants": (
            Tenant("b-pro", "B", "pro", False, (), None),
            Tenant("c-own", "C", "pro", True, (), OWN),
            Tenant("a-free", "A", "free", False, (), None),
        ),
        "health": HealthScore(
            profile="rag",
            over_seconds=900,
            components=tuple(Component(name, name, weight, Decimal(0), Decimal(1)) for name, weight in weights),
            floor_below=Decimal(20),
            floor_ceiling=Decimal(59),
        ),
        "costs": Costs((), DEFAULT),
    }
    return Stack(**(fields | changes))


def compiled(**changes: Any) -> Any:
    return exporter_config(stack(**changes), Site(prometheus="127.0.0.1:9090"), "sha256:1")


def test_it_names_the_release_the_stack_and_where_prometheus_is() -> None:
    made = compiled()
    assert (made.release, made.stack, made.prometheus_url) == ("sha256:1", "aether", "http://127.0.0.1:9090")
    assert made.tenant_label == "customer"


@pytest.mark.parametrize(
    ("evaluation", "refresh", "stale"), [(1, 5, 60), (5, 5, 60), (15, 15, 60), (30, 30, 90), (60, 60, 180)]
)
def test_it_refreshes_with_the_rules_and_allows_three_missed_rounds_but_at_least_a_minute(
    evaluation: int, refresh: int, stale: int
) -> None:
    made = compiled(evaluation_interval_seconds=evaluation)
    assert (made.refresh_seconds, made.stale_seconds) == (refresh, stale)


AMOUNTS = st.decimals(0, 10**9, places=2)
TENANTS = st.builds(
    ExporterTenant, st.text(), st.text(), st.booleans(), st.none() | st.builds(Budget, AMOUNTS, AMOUNTS)
)


@given(st.lists(TENANTS, max_size=4))
def test_the_file_is_what_the_json_library_writes(tenants: list[ExporterTenant]) -> None:
    """Tenants are written without it, because there may be ten thousand of them."""
    made = replace(compiled(), tenants=tuple(tenants))
    content = {"format": 1, **asdict(made)}
    expected = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"
    assert to_text(made) == expected


def test_tenants_are_in_order_and_have_the_budget_that_holds_for_them() -> None:
    assert compiled().tenants == (
        ExporterTenant("a-free", "free", False, DEFAULT),
        ExporterTenant("b-pro", "pro", False, PRO),
        ExporterTenant("c-own", "pro", True, OWN),
    )


def test_health_is_asked_per_tenant_and_its_weights_become_shares_of_one() -> None:
    health = compiled().health
    assert health.score_query == "min by (customer) (aether:health_score:15m)"
    assert health.components_query == "min by (customer, component) (aether:health_component:point)"
    assert [(weight.component, str(weight.ratio)) for weight in health.weights] == [
        ("cache", "0.5"),
        ("quality", "0.3"),
        ("speed", "0.2"),
    ]


def test_cost_is_asked_per_tenant() -> None:
    assert compiled().cost.estimate_query == "max by (customer) (aether:estimated_cost_30d_usd)"


def test_a_stack_without_health_and_costs_has_no_queries_and_no_budgets() -> None:
    made = compiled(health=None, costs=None)
    assert made.health is None
    assert made.cost is None
    assert {tenant.budget for tenant in made.tenants} == {None}


def test_the_file_gives_back_what_was_written() -> None:
    for made in (compiled(), compiled(health=None, costs=None), config()):
        assert from_text(to_text(made)) == made


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_tenant_id_survives_the_file(tenant: str) -> None:
    written = config(tenants=(ExporterTenant(tenant, "pro", False, None),))
    assert from_text(to_text(written).encode().decode()) == written


def test_the_text_is_the_same_each_time_sorted_and_ends_with_a_newline() -> None:
    text = to_text(compiled())
    assert text == to_text(compiled())
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_money_keeps_its_decimal_places() -> None:
    cents = Budget(Decimal("0.10"), Decimal("19.990"))
    text = to_text(config(tenants=(ExporterTenant("acme", "pro", False, cents),)))
    assert '"19.990"' in text
    assert from_text(text).tenants[0].budget == cents


def changed(change: Callable[[Any], object]) -> str:
    content = json.loads(to_text(config()))
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda file: file.update(format=2), "format: this exporter reads format 1"),
        (lambda file: file.pop("release"), "release: text was expected"),
        (lambda file: file.update(prometheus_url="localhost:9090"), "prometheus_url: an address that begins with http"),
        (lambda file: file.update(refresh_seconds=0), "refresh_seconds: a whole number from 1"),
        (lambda file: file.update(stale_seconds=True), "stale_seconds: a whole number from 1"),
        (lambda file: file.update(tenant_label="tenant-id"), "tenant_label: 'tenant-id' cannot be"),
        (lambda file: file.update(tenant_label="component"), "tenant_label: 'component' cannot be"),
        (lambda file: file.update(tenants={}), "tenants: a list was expected"),
        (lambda file: file["tenants"].append("x"), "tenants\\[2\\]: an object was expected"),
        (lambda file: file["tenants"].append(file["tenants"][0]), "tenants: 'acme' stands there more than once"),
        (lambda file: file["tenants"][1].update(vip="no"), "tenants\\[1\\], vip: true or false"),
        (lambda file: file["tenants"][1]["budget"].update(warn_usd="NaN"), "budget, warn_usd: an amount from 0"),
        (lambda file: file["tenants"][1]["budget"].update(warn_usd="-1"), "budget, warn_usd: an amount from 0"),
        (lambda file: file["tenants"][1]["budget"].update(warn_usd="ten"), "budget, warn_usd: an amount from 0"),
        (lambda file: file["health"]["weights"].pop(), "health, weights: the ratios do not sum to 1"),
        (lambda file: file["health"]["weights"][0].update(component="speed"), "weights: 'speed' stands there more"),
        (lambda file: file["cost"].pop("estimate_query"), "cost, estimate_query: text was expected"),
        (lambda file: file["tenants"][0].update(id="\ud800"), "not readable as JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place_and_the_next_step(
    change: Callable[[Any], object], complaint: str
) -> None:
    with pytest.raises(ExporterFileError, match=complaint) as refused:
        from_text(changed(change))
    assert "compile the definitions again" in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_what_is_no_file_of_ours_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(ExporterFileError):
        from_text(text)


def test_weights_that_are_endless_fractions_still_sum_to_one() -> None:
    health = stack().health
    assert health is not None
    thirds = replace(health, components=tuple(replace(component, weight=1) for component in health.components))
    made = compiled(health=thirds)
    assert from_text(to_text(made)) == made
