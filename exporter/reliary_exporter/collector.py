"""What the exporter publishes: its state as metric families. Pure; a value that is not known has no series.

Nothing here stands in for a missing value: no 0 for "unknown", and no score where too little was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from reliary import __version__
from reliary.exporterfile import ExporterConfig, HealthSource
from reliary_exporter.snapshot import Activity, Reading, Snapshot, State

# Below this share of the weights a score says more about what is missing than about the tenant.
MIN_COVERAGE = 0.6
COST_PERIOD = "30d"


def families(state: State, now: float) -> tuple[Metric, ...]:
    """The families that have samples at Unix time `now`; those made of stale readings are not among them."""
    config, snapshot = state.config, state.snapshot
    costs = state.fresh(snapshot.costs, now)
    every = (
        *_own(config, snapshot, state.activity),
        *_tenants(config),
        *_health(config, state.fresh(snapshot.health, now), state.fresh(snapshot.components, now)),
        *_budgets(config),
        *(() if costs is None else _costs(config, costs)),
    )
    return tuple(family for family in every if family.samples)


def _own(config: ExporterConfig, snapshot: Snapshot, activity: Activity) -> Iterator[Metric]:
    yield _gauge(
        "reliary_build_info",
        "The version of Reliary and the release whose definitions are served.",
        ("version", "release"),
        [((__version__, config.release), 1)],
    )
    yield _gauge(
        "reliary_last_refresh_timestamp_seconds",
        "Unix time of the last refresh in which Prometheus answered every query.",
        (),
        [] if snapshot.complete_at is None else [((), snapshot.complete_at)],
    )
    yield _gauge(
        "reliary_refresh_duration_seconds",
        "How long the last refresh took, successful or not.",
        (),
        [] if activity.seconds is None else [((), activity.seconds)],
    )
    yield CounterMetricFamily("reliary_refreshes", "Refreshes begun, successful or not.", value=activity.rounds)
    errors = CounterMetricFamily(
        "reliary_refresh_errors", "Failed queries and configuration files that could not be read.", labels=("reason",)
    )
    for reason, count in activity.counts:
        errors.add_metric((reason,), count)
    yield errors


def _tenants(config: ExporterConfig) -> Iterator[Metric]:
    yield _gauge(
        "reliary_tenant_info",
        "A tenant of the definitions, with its tier and whether it is a VIP.",
        (config.tenant_label, "tier", "vip"),
        (((tenant.id, tenant.tier, str(tenant.vip).lower()), 1) for tenant in config.tenants),
    )


def _health(config: ExporterConfig, scores: Reading | None, components: Reading | None) -> Iterator[Metric]:
    if config.health is None:
        return
    yield _gauge(
        "reliary_health_component_weight_ratio",
        "The share of a component in the health score; the shares sum to 1.",
        ("component",),
        (((weight.component,), float(weight.ratio)) for weight in config.health.weights),
    )
    # Without the components nobody can say what a score is worth, so it is not shown either.
    if components is not None:
        yield _components(config, components)
        coverage = _coverage(config, config.health, components)
        yield _coverages(config, coverage)
        if scores is not None:
            yield _scores(config, config.health, scores, coverage)


def _components(config: ExporterConfig, components: Reading) -> Metric:
    return _gauge(
        "reliary_health_component_score",
        "Score of one component of a tenant's health, 0 (worst) to 100 (best).",
        (config.tenant_label, "component"),
        (((value.tenant, value.component), value.value) for value in components.values if value.component),
    )


def _coverages(config: ExporterConfig, coverage: dict[str, float]) -> Metric:
    return _gauge(
        "reliary_health_coverage_ratio",
        "The weights of the components that have a value; below 0.6 there is no score.",
        (config.tenant_label,),
        (((tenant,), share) for tenant, share in coverage.items()),
    )


def _scores(config: ExporterConfig, health: HealthSource, scores: Reading, coverage: dict[str, float]) -> Metric:
    return _gauge(
        "reliary_health_score",
        "A tenant's weighted health, 0 (worst) to 100 (best).",
        (config.tenant_label, "profile"),
        (
            ((value.tenant, health.profile), value.value)
            for value in scores.values
            if coverage.get(value.tenant, 0.0) >= MIN_COVERAGE
        ),
    )


def _coverage(config: ExporterConfig, health: HealthSource, components: Reading) -> dict[str, float]:
    """The measured share of the score per tenant: 0 is a fact about a listed tenant of whom nothing was measured."""
    weights = {weight.component: weight.ratio for weight in health.weights}
    measured = {tenant.id: Decimal(0) for tenant in config.tenants}
    for value in components.values:
        if value.component in weights:
            measured[value.tenant] = measured.get(value.tenant, Decimal(0)) + weights[value.component]
    # Summed as decimals, because 0.6 in floats may come out a little less; their 28 digits leave nothing of that.
    return {tenant: float(share) for tenant, share in measured.items()}


def _budgets(config: ExporterConfig) -> Iterator[Metric]:
    yield _gauge(
        "reliary_cost_budget_usd",
        "A tenant's spend limits in USD for 30 days.",
        (config.tenant_label, "level"),
        (
            ((tenant.id, level), float(limit))
            for tenant in config.tenants
            if tenant.budget is not None
            for level, limit in (("warn", tenant.budget.warn_usd), ("critical", tenant.budget.critical_usd))
        ),
    )


def _costs(config: ExporterConfig, costs: Reading) -> Iterator[Metric]:
    yield _gauge(
        "reliary_cost_estimated_usd",
        "What a tenant will have cost in 30 days, in USD, if it goes on like this.",
        (config.tenant_label, "period"),
        (((value.tenant, COST_PERIOD), value.value) for value in costs.values),
    )
    limits = {tenant.id: float(tenant.budget.critical_usd) for tenant in config.tenants if tenant.budget is not None}
    yield _gauge(
        "reliary_cost_budget_used_ratio",
        "The estimate as a share of the tenant's critical limit.",
        (config.tenant_label,),
        (((value.tenant,), value.value / limits[value.tenant]) for value in costs.values if limits.get(value.tenant)),
    )


def _gauge(
    name: str, about: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family
