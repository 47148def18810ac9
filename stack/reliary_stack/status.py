"""How every tenant is doing now: a pure table over what Prometheus has recorded, and the few queries it needs.

What was not recorded is None and never 0: silence is not health, and it is not failure either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeAlias

from reliary import names
from reliary.model import Indicator, Slo, Stack, Tenant, Threshold
from reliary.windows import factor
from reliary_exporter.prometheus import PrometheusClient, Sample

__all__ = [
    "Answers",
    "Firing",
    "IndicatorStatus",
    "Level",
    "ObjectiveStatus",
    "PartsUp",
    "Reading",
    "StackStatus",
    "Status",
    "TenantStatus",
    "as_json",
    "questions",
    "read_status",
    "table",
]

Level: TypeAlias = Literal["good", "warning", "bad", "unknown", "plain"]
Answers: TypeAlias = Mapping[str, Collection[Sample]]

SHOWN_TENANTS = 40
HOUR_SECONDS = 3600
LOW_BUDGET_RATIO = 0.25
GOOD_HEALTH, FAIR_HEALTH = 80, 60

UP = "up"
FIRING = 'ALERTS{alertstate="firing"}'
RULE_FAILURES = "sum(increase(prometheus_rule_evaluation_failures_total[1h]))"


@dataclass(frozen=True, slots=True)
class Reading:
    """A number and what to think of it; None (`unknown`) is no data, `plain` means that nothing judges it."""

    value: float | None
    level: Level


@dataclass(frozen=True, slots=True)
class ObjectiveStatus:
    """One SLO of a tenant. Burn 1 spends the budget just within the window; the budget's rest is a share, 1 is all.

    `state` is one of `names.STATES`, empty before the first one is recorded.
    """

    slo: str
    objective_percent: Decimal
    burn_rate_1h: Reading
    budget_remaining_ratio: Reading
    state: str = ""


@dataclass(frozen=True, slots=True)
class IndicatorStatus:
    """An indicator of a tenant as it is recorded: from 0 to 100 where `percent`, else from 0 to 1."""

    indicator: str
    percent: bool
    reading: Reading


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires now."""

    alert: str
    severity: str


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """A row; what the stack does not have is empty or None. Money is USD for 30 days at the present pace."""

    id: str
    name: str
    tier: str
    vip: bool
    objectives: tuple[ObjectiveStatus, ...]
    indicators: tuple[IndicatorStatus, ...]
    health_score: Reading | None
    cost_30d_usd: Reading | None
    firing: tuple[Firing, ...]


@dataclass(frozen=True, slots=True)
class PartsUp:
    """A scrape job, and how many of its targets answer."""

    job: str
    up: int
    total: int


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The stack itself: alerts of no tenant that has a row, tenants with data that are not defined, failed rules."""

    jobs: tuple[PartsUp, ...]
    rule_failures_1h: Reading
    unlisted: tuple[str, ...]
    firing: tuple[Firing, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """What is shown: `more` tenants are left out, and they are better off than those that are not."""

    stack: StackStatus
    tenants: tuple[TenantStatus, ...]
    more: int


class Asked(Protocol):
    def instant(self, query: str) -> Collection[Sample]: ...


def read_status(
    stack: Stack, prometheus_url: str, *, only: Collection[str] = (), limit: int | None = SHOWN_TENANTS
) -> Status:
    """The status from a running Prometheus; the rest as in `table`. Raises PrometheusError."""
    client = PrometheusClient(prometheus_url)
    try:
        return table(stack, {query: client.instant(query) for query in questions(stack)}, only=only, limit=limit)
    finally:
        client.close()


def questions(stack: Stack) -> tuple[str, ...]:
    """The queries whose answers `table` needs."""
    series = [names.burn_rate(HOUR_SECONDS), names.SLO_BUDGET_REMAINING, names.SLO_STATE] if stack.slos else []
    series += [names.indicator_series(stack, indicator) for indicator in stack.indicators]
    series += [names.health_series(stack)] if stack.health else []
    series += [names.cost_estimate_series(stack)] if stack.costs else []
    return (*series, FIRING, UP, RULE_FAILURES)


def table(stack: Stack, answers: Answers, *, only: Collection[str] = (), limit: int | None = SHOWN_TENANTS) -> Status:
    """The status of the tenants in the order of the definitions, or of those in `only` (ids).

    When there are more than `limit` (None: any number are shown), the worst come first: those with firing alerts,
    then by the lower of health score and budget.
    """
    table = _Table(stack, answers)
    rows = [table.row(tenant) for tenant in stack.tenants if not only or tenant.id in only]
    shown = rows if limit is None or len(rows) <= limit else sorted(rows, key=_goodness)[:limit]
    return Status(table.own(), tuple(shown), len(rows) - len(shown))


def as_json(status: Status) -> dict[str, Any]:
    """The status as JSON values: objectives as numbers, no data as null."""
    return _plain(asdict(status))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case Decimal():
            return float(value)
        case _:
            return value


def _goodness(row: TenantStatus) -> tuple[int, float]:
    """Sorts the worst first. A tenant without data is neither good nor bad: it comes last."""
    shares = [each.budget_remaining_ratio.value for each in row.objectives]
    shares.append(row.health_score.value / 100 if row.health_score and row.health_score.value is not None else None)
    return -len(row.firing), min((share for share in shares if share is not None), default=math.inf)


def _state(code: float | None) -> str:
    return names.STATES[int(code)] if code is not None and 0 <= code < len(names.STATES) else ""


class _Table:
    """The answers, looked up by tenant."""

    def __init__(self, stack: Stack, answers: Answers) -> None:
        self.stack, self.answers = stack, answers
        label = stack.tenant_label
        self.values = {
            (query, sample.label(label), sample.label(names.SLO_LABEL)): sample.value
            for query in questions(stack)
            for sample in answers.get(query, ())
            # Infinity is what a division by nothing leaves: it says no more than NaN.
            if math.isfinite(sample.value)
        }
        self.listed = {tenant.id for tenant in stack.tenants}
        self.firing: dict[str, set[Firing]] = {}
        for sample in answers.get(FIRING, ()):
            tenant = sample.label(label)
            alert = Firing(sample.label("alertname"), sample.label("severity"))
            if alert.alert != names.WATCHDOG:
                # Of a tenant without a row, the stack has to tell.
                self.firing.setdefault(tenant if tenant in self.listed else "", set()).add(alert)
        known = self.listed | {""}
        self.unlisted = {sample.label(label) for each in answers.values() for sample in each} - known

    def alerts(self, tenant: str) -> tuple[Firing, ...]:
        return tuple(sorted(self.firing.get(tenant, ()), key=lambda each: (each.alert, each.severity)))

    def row(self, tenant: Tenant) -> TenantStatus:
        return TenantStatus(
            id=tenant.id,
            name=tenant.name,
            tier=tenant.tier,
            vip=tenant.vip,
            objectives=tuple(self._objective(slo, tenant) for slo in self.stack.slos),
            indicators=tuple(self._indicator(each, tenant) for each in self.stack.indicators),
            health_score=self._health(tenant),
            cost_30d_usd=self._cost(tenant),
            firing=self.alerts(tenant.id),
        )

    def own(self) -> StackStatus:
        failures = self.values.get((RULE_FAILURES, "", ""))
        return StackStatus(
            jobs=tuple(self._jobs()),
            rule_failures_1h=_reading(failures, "bad" if failures else "good"),
            unlisted=tuple(sorted(self.unlisted)),
            firing=self.alerts(""),
        )

    def _jobs(self) -> Iterator[PartsUp]:
        samples = self.answers.get(UP, ())
        for job in sorted({sample.label("job") for sample in samples}):
            values = [sample.value for sample in samples if sample.label("job") == job]
            yield PartsUp(job, values.count(1), len(values))

    def _value(self, query: str, tenant: Tenant, slo: str = "") -> float | None:
        return self.values.get((query, tenant.id, slo))

    def _objective(self, slo: Slo, tenant: Tenant) -> ObjectiveStatus:
        burn = self._value(names.burn_rate(HOUR_SECONDS), tenant, slo.name)
        remaining = self._value(names.SLO_BUDGET_REMAINING, tenant, slo.name)
        return ObjectiveStatus(
            slo.name,
            self.stack.objective(slo, tenant),
            _burn(slo, burn),
            _low_is_bad(remaining, LOW_BUDGET_RATIO, 0),
            _state(self._value(names.SLO_STATE, tenant, slo.name)),
        )

    def _indicator(self, indicator: Indicator, tenant: Tenant) -> IndicatorStatus:
        value = self._value(names.indicator_series(self.stack, indicator), tenant)
        limits = [each for each in self.stack.thresholds if each.indicator == indicator.name]
        judging = [each for each in limits if each.scope == "all" or tenant.vip]
        return IndicatorStatus(indicator.name, indicator.percent, _judged(value, judging))

    def _health(self, tenant: Tenant) -> Reading | None:
        if self.stack.health is None:
            return None
        return _low_is_bad(self._value(names.health_series(self.stack), tenant), GOOD_HEALTH, FAIR_HEALTH)

    def _cost(self, tenant: Tenant) -> Reading | None:
        budget = self.stack.budget(tenant)
        if budget is None:
            return None
        usd = self._value(names.cost_estimate_series(self.stack), tenant)
        if usd is None:
            return _reading(usd, "unknown")
        return Reading(usd, "bad" if usd > budget.critical_usd else "warning" if usd > budget.warn_usd else "good")


def _reading(value: float | None, level: Level) -> Reading:
    return Reading(value, "unknown" if value is None else level)


def _judged(value: float | None, thresholds: list[Threshold]) -> Reading:
    """Bad beyond a limit that pages, a warning beyond another."""
    if value is None or not thresholds:
        return _reading(value, "plain")
    crossed = [each.severity for each in thresholds if _crosses(value, each)]
    severe = any(severity in ("critical", "page") for severity in crossed)
    return Reading(value, "bad" if severe else "warning" if crossed else "good")


def _low_is_bad(value: float | None, good: float, fair: float) -> Reading:
    """Good from `good`, bad from below `fair`."""
    if value is None:
        return _reading(value, "unknown")
    return Reading(value, "good" if value >= good else "warning" if value >= fair else "bad")


def _burn(slo: Slo, value: float | None) -> Reading:
    """Bad from the rate on that would page if it lasted, a warning above the rate that just fits the budget."""
    pages = [float(factor(tier, slo.window_seconds)) for tier in slo.burn if tier.severity == "page"]
    if value is not None and value >= min(pages, default=math.inf):
        return Reading(value, "bad")
    return _reading(value, "good" if value is None or value <= 1 else "warning")


def _crosses(value: float, threshold: Threshold) -> bool:
    return value < threshold.limit if threshold.direction == "<" else value > threshold.limit
