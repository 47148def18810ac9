"""The only place that forms the names of series, rules, labels, uids and files.

Recorded series follow `level:metric:operation`. The SLO series have no namespace, because their `slo` label tells
classes apart and one dashboard serves every stack.
"""

from __future__ import annotations

from reliary.model import Indicator, Stack

SLO_LABEL = "slo"

RESERVED_LABELS = frozenset(
    {"alertname", "severity", "kind", "slo", "indicator", "component", "tier", "vip", "owner", "job", "instance", "le"}
)
"""Labels with a meaning of their own in this stack; the tenant label cannot be one of them."""

WATCHDOG = "Watchdog"
SLO_ALERT = "SloBudgetBurn"
EXPORTER_JOB = "reliary-exporter"
RESERVED_ALERTS = frozenset(
    {
        WATCHDOG,
        SLO_ALERT,
        "CostBudgetWarning",
        "CostBudgetExceeded",
        "RuleEvaluationFailing",
        "RuleEvaluationMissed",
        "TenantFactsMissing",
        "TenantsUnlisted",
        "TargetDown",
        "ExporterDown",
        "ExporterStale",
        "ProbeFailing",
        "SloErrorsExceedTotal",
    }
)
"""Alerts that the stack defines itself."""

TENANT_INFO = "tenant_info"
OBJECTIVE = "tenant_slo_objective_ratio"
COST_BUDGET = "tenant_cost_budget_usd"
SLO_TOTAL_RATE = "tenant_slo:total:rate5m"
SLO_ERRORS_RATE = "tenant_slo:errors:rate5m"
SLO_TOTAL_TILE = "tenant_slo:total:sum5m"
SLO_ERRORS_TILE = "tenant_slo:errors:sum5m"
SLO_BUDGET = "tenant_slo:error_budget:ratio"
SLO_EXCLUDED_RATE = "tenant_slo:excluded:rate5m"
SLO_TOTAL_WINDOW = "tenant_slo:total:window"
SLO_BUDGET_CONSUMED = "tenant_slo:error_budget_consumed:ratio"
SLO_BUDGET_REMAINING = "tenant_slo:error_budget_remaining:ratio"
SLO_BUDGET_MINUTES = "tenant_slo:error_budget_remaining:minutes"
SLO_SUCCESS = "tenant_slo:success:ratio"
SLO_STATE = "tenant_slo:state:code"
SLO_INFO = "slo_info"
SLO_WINDOW_SECONDS = "slo:window:seconds"
SLO_WINDOW_ELAPSED = "slo:window_elapsed:ratio"
MAINTENANCE = "maintenance:active:info"
CALENDAR_CLOCK = "calendar:local_time:seconds"
MAINTENANCE_CLOCK = "maintenance:local_time:seconds"
CALENDAR = "calendar:period:current"

STATES = ("ok", "burning", "exhausted", "insufficient data", "no data", "excluded")
"""What the values of `SLO_STATE` mean, from 0 on."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def duration(seconds: int) -> str:
    """A Prometheus duration in its largest whole unit up to days: 5400 -> `90m`, 604800 -> `7d`."""
    for size, unit in _UNITS:
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size}{unit}"
    return "0s"


def indicator_series(stack: Stack, indicator: Indicator) -> str:
    """The recorded value per tenant, `aether:cache_hit_ratio:5m`; over all tenants it ends in `:all`."""
    return f"{stack.namespace}:{indicator.name}:{duration(indicator.over_seconds)}"


def all_tenants(series: str) -> str:
    """The same value over the events of all tenants."""
    return f"{series}:all"


def events_series(stack: Stack, indicator: Indicator, part: str, window_seconds: int) -> str:
    """Events per tenant of one indicator: `aether:cache_hit_ratio:bad:increase5m`; part is `bad` or `total`."""
    return f"{stack.namespace}:{indicator.name}:{part}:increase{duration(window_seconds)}"


def component_series(stack: Stack, bound: str) -> str:
    """Scores 0..100 with a `component` label: `point` is measured, `upper` is what a doubter would still grant."""
    return f"{stack.namespace}:health_component:{bound}"


def health_series(stack: Stack) -> str:
    """`aether:health_score:15m`. Only for stacks with a health score."""
    assert stack.health is not None
    return f"{stack.namespace}:health_score:{duration(stack.health.over_seconds)}"


def health_upper_series(stack: Stack) -> str:
    """The score that a doubter would still grant: each component with the benefit of a 95 % margin."""
    return f"{health_series(stack)}:upper"


def health_raw_series(stack: Stack, bound: str) -> str:
    """The weighted mean of the components, before the floor rule; bound is `point` or `upper`."""
    return f"{stack.namespace}:health_raw:{bound}"


def health_coverage_series(stack: Stack) -> str:
    """Share of the weights (0..1) whose component has a value."""
    return f"{stack.namespace}:health_coverage:ratio"


def cost_tile_series(stack: Stack) -> str:
    """USD spent in five minutes, per tenant and `resource`; recorded every five minutes, so tiles do not overlap."""
    return f"{stack.namespace}:cost_usd:sum5m"


def cost_estimate_series(stack: Stack) -> str:
    """USD that a tenant will have spent in 30 days at the pace of the last week."""
    return f"{stack.namespace}:estimated_cost_30d_usd"


def burn_rate(window_seconds: int) -> str:
    """Burn rate over a window: 1 spends the budget exactly within the SLO's window."""
    return f"tenant_slo:burn_rate:{duration(window_seconds)}"


def total_sum(window_seconds: int) -> str:
    """Sum of the recorded 5m rates over a window; times the evaluation interval it is a count of events."""
    return f"tenant_slo:total:sum{duration(window_seconds)}"


def rolled_up(series: str, level: str) -> str:
    """A series of tenants over all of them (`slo`) or those of a tier (`tier_slo`)."""
    return series.replace("tenant_slo:", f"{level}:")


def rule_file(topic: str) -> str:
    """Path inside the build."""
    return f"rules/{topic}.yml"


def runbook(alert: str) -> str:
    """Path inside the build."""
    return f"runbooks/{alert}.md"
