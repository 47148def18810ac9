"""What the definitions mean: frozen values with units in their names, and nothing of YAML.

Every builder takes a `Stack` and gives artifacts. Durations are whole seconds, money is USD, objectives and
limits are `Decimal`, so that 99.95 stays 99.95 in every file that is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["critical", "warning", "general", "page", "ticket"]
Kind: TypeAlias = Literal["indicator", "health", "slo", "cost", "platform"]
Scope: TypeAlias = Literal["all", "vip"]
BurnSeverity: TypeAlias = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class Service:
    """A job that Prometheus scrapes, and the URLs that the blackbox exporter probes for it."""

    name: str
    targets: tuple[str, ...]
    metrics_path: str
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """Spend limits in USD for 30 days and one tenant."""

    warn_usd: Decimal
    critical_usd: Decimal


@dataclass(frozen=True, slots=True)
class Tier:
    """A plan: what its tenants were sold. `budget` None: the budget of the stack holds."""

    name: str
    description: str
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer. `objectives` maps an SLO's name to this tenant's own objective in percent."""

    id: str
    name: str
    tier: str
    vip: bool
    objectives: tuple[tuple[str, Decimal], ...]
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class Selector:
    """A counter, with matchers or without: the compiler adds `increase` and the sum per tenant."""

    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL that gives events per tenant within `{window}`; it is proven to keep the tenant label."""

    text: str


Events: TypeAlias = Selector | Query


@dataclass(frozen=True, slots=True)
class Ratio:
    """Events of which some are counted as `good` or as `bad`; `part` says which of the two `counted` is."""

    counted: Events
    part: Literal["good", "bad"]
    total: Events


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of a histogram; good ones took at most `within_seconds`, or what `by_tier` says for a tenant's tier.

    The bounds are buckets of a classic histogram; a `native` one has no fixed buckets, so any bound will do.
    """

    histogram: Selector
    within_seconds: Decimal
    by_tier: tuple[tuple[str, Decimal], ...] = ()
    native: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Samples of a gauge per tenant that is 1 when all is well and 0 when not; each sample is an event."""

    gauge: Selector


@dataclass(frozen=True, slots=True)
class RawRatio:
    """A share of good or bad events (0..1) per tenant without the counts; each minute weighs the same."""

    query: Query
    part: Literal["good", "bad"]


Source: TypeAlias = Ratio | Latency | Probe | RawRatio


@dataclass(frozen=True, slots=True)
class Indicator:
    """A ratio per tenant over `over_seconds`, as a share (0..1) or as a percentage (0..100).

    The value is the share of what the definition counts: of good events for `good`, of bad ones for `bad`.
    """

    name: str
    description: str
    source: Ratio
    over_seconds: int
    percent: bool

    @property
    def scale(self) -> int:
        """100 for a percentage, 1 for a share."""
        return 100 if self.percent else 1

    @property
    def higher_is_better(self) -> bool:
        """True when the value counts good events."""
        return self.source.part == "good"


@dataclass(frozen=True, slots=True)
class BurnTier:
    """One pair of windows of a burn-rate table: alert when both burn faster than `factor`.

    The factor follows from `budget_share`, the part of a budget that is spent in the long window, unless
    `own_factor` says it.
    """

    severity: BurnSeverity
    long_seconds: int
    short_seconds: int
    budget_share: Decimal
    own_factor: Decimal | None = None
    for_seconds: int = 0
    keep_firing_for_seconds: int = 0


@dataclass(frozen=True, slots=True)
class BurnGuard:
    """How sure burn-rate alerts are: a 95 % margin, at least so many events in the long window, or not at all."""

    kind: Literal["margin", "counts", "none"] = "margin"
    bad: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Calendar:
    """A window that starts anew with each month or quarter of an IANA time zone."""

    unit: Literal["month", "quarter"]
    zone: str


@dataclass(frozen=True, slots=True)
class Slo:
    """A class of objectives, one vectorised set of rules for all tenants.

    `default` is the objective in percent of a tenant that is in no tier of `by_tier`; lookup is tenant, tier, default.
    `window_seconds` is the rolling window, or the nominal length of `calendar`. `burn` has the tiers of alerting
    that are switched on. `exact` takes windows up to 6 hours from the raw counters.
    """

    name: str
    description: str
    source: Source
    default: Decimal
    by_tier: tuple[tuple[str, Decimal], ...]
    window_seconds: int
    burn: tuple[BurnTier, ...]
    owner: str
    calendar: Calendar | None = None
    exact: bool = False
    guard: BurnGuard = BurnGuard()


@dataclass(frozen=True, slots=True)
class Composite:
    """Several SLOs of one window read as one: budgets and events are those of all of them, added up."""

    name: str
    description: str
    of: tuple[str, ...]
    owner: str


@dataclass(frozen=True, slots=True)
class Once:
    """From one instant to another, in Unix seconds."""

    start_seconds: int
    end_seconds: int


@dataclass(frozen=True, slots=True)
class Recurring:
    """By the local clock of an IANA zone: on these days (0 is Sunday; empty: each) or on that day of the month.

    A window may pass midnight; it belongs to the day on which it starts.
    """

    weekdays: tuple[int, ...]
    month_day: int | None
    start_second: int
    lasts_seconds: int
    zone: str


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A planned window. Without tenants or SLOs it holds for all; `excluded` says that it costs no budget."""

    name: str
    when: Once | Recurring
    tenants: tuple[str, ...]
    slos: tuple[str, ...]
    excluded: bool

    def covers(self, slo: str) -> bool:
        """True when events of that SLO within the window are left out of its budget."""
        return self.excluded and (not self.slos or slo in self.slos)


@dataclass(frozen=True, slots=True)
class Threshold:
    """An alert on an indicator, or on the health score when `indicator` is `health_score`."""

    alert: str
    indicator: str
    direction: Literal["<", ">"]
    limit: Decimal
    for_seconds: int
    severity: Severity
    scope: Scope
    summary: str
    first_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the health score: `zero` and `full` are the indicator's values that score 0 and 100."""

    name: str
    indicator: str
    weight: int
    zero: Decimal
    full: Decimal


@dataclass(frozen=True, slots=True)
class HealthScore:
    """A weighted score from 0 to 100; a component below `floor_below` caps it at `floor_ceiling`."""

    profile: str
    over_seconds: int
    components: tuple[Component, ...]
    floor_below: Decimal
    floor_ceiling: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """USD for `per` units of a counter."""

    resource: str
    counter: Selector
    per: Decimal
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Costs:
    """What usage costs, and the spend limits of a tenant that has none of its own."""

    prices: tuple[Price, ...]
    budget: Budget


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """A service behind PagerDuty's Events API v2. The field names a file in secrets/."""

    routing_key_file: str


@dataclass(frozen=True, slots=True)
class Slack:
    """A Slack channel. `url_file` names a file in secrets/ with the webhook's URL."""

    channel: str
    url_file: str


@dataclass(frozen=True, slots=True)
class Email:
    """Addresses, each of which gets a mail."""

    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that gets Alertmanager's own JSON."""

    url: str


Channel: TypeAlias = PagerDuty | Slack | Email | Webhook


@dataclass(frozen=True, slots=True)
class Receiver:
    """People or systems that get alerts, by one channel or several at once."""

    name: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Who gets an alert; an empty field matches all. The first route that matches wins."""

    to: str
    severity: Severity | None
    kind: Kind | None
    scope: Scope
    respond_within_seconds: int | None

    @property
    def catches_all(self) -> bool:
        """True when no alert passes this route by."""
        return self.severity is None and self.kind is None and self.scope == "all"


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server, `host:port`. `password_file` names a file in secrets/."""

    smarthost: str
    sender: str
    username: str | None
    password_file: str | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One value on a board. `shows` is an indicator, `health_score` or `cost`; levels ascend."""

    title: str
    description: str
    shows: str
    form: Literal["gauge", "stat", "timeseries"]
    levels: tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `uid` is part of its address in Grafana."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Demo:
    """A workload of ours that `reliary up` starts in place of `service`; peak requests a second by tier."""

    service: str
    seed: int
    requests_per_second: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True)
class Stack:
    """Everything that the definitions say, resolved and checked. The one input of every builder."""

    name: str
    namespace: str
    tenant_label: str
    scrape_interval_seconds: int
    evaluation_interval_seconds: int
    retention_seconds: int
    pins: str
    runbook_base_url: str | None
    services: tuple[Service, ...]
    tiers: tuple[Tier, ...]
    tenants: tuple[Tenant, ...]
    indicators: tuple[Indicator, ...]
    slos: tuple[Slo, ...]
    thresholds: tuple[Threshold, ...]
    health: HealthScore | None
    costs: Costs | None
    receivers: tuple[Receiver, ...]
    routes: tuple[Route, ...]
    smtp: Smtp | None
    boards: tuple[Board, ...]
    demo: Demo | None
    composites: tuple[Composite, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    shards: int = 1

    @cached_property
    def vips(self) -> tuple[Tenant, ...]:
        """The tenants that are named as VIPs, in the order of the definitions."""
        return tuple(tenant for tenant in self.tenants if tenant.vip)

    def indicator(self, name: str) -> Indicator:
        """The indicator of that name. The spec reader has already refused definitions that name an unknown one."""
        return next(indicator for indicator in self.indicators if indicator.name == name)

    def objective(self, slo: Slo, tenant: Tenant) -> Decimal:
        """The objective in percent that holds for a tenant: its own, else its tier's, else the class default."""
        for name, own in tenant.objectives:
            if name == slo.name:
                return own
        return next((objective for tier, objective in slo.by_tier if tier == tenant.tier), slo.default)

    def exclusions(self, slo: str) -> tuple[Maintenance, ...]:
        """The planned windows whose events cost this SLO no budget."""
        return tuple(window for window in self.maintenance if window.covers(slo))

    def budget(self, tenant: Tenant) -> Budget | None:
        """The 30-day spend limits of a tenant: its own, else its tier's, else the default; None without prices."""
        if self.costs is None:
            return None
        return tenant.budget or self._tier_budgets[tenant.tier] or self.costs.budget

    @cached_property
    def _tier_budgets(self) -> dict[str, Budget | None]:
        return {tier.name: tier.budget for tier in self.tiers}
