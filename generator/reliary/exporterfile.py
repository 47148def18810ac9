"""The one file that tells the sidecar exporter whom it is about, where to read and what to ask.

The compiler writes it, the exporter reads it back: both use this module, so the two can not drift apart. Money and
ratios are written as strings, because a JSON number would lose the decimal places of the definitions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring as _json

from reliary import names
from reliary.artifacts import Site
from reliary.model import Budget, HealthScore, Stack

FORMAT = 1

# A Prometheus can not evaluate more often than it makes sense to ask it.
MIN_REFRESH_SECONDS = 5
# Three rounds may be missed. A restart of Prometheus with its write-ahead log takes up to a minute, and must not
# blank a stack that is refreshed every five seconds.
STALE_AFTER_ROUNDS = 3
MIN_STALE_SECONDS = 60

# Label names that the exporter's own series use beside the tenant's.
RESERVED_LABELS = frozenset({"component", "level", "period", "profile", "reason", "release", "tier", "version", "vip"})

_TENANT = """\
    {
      "budget": %s,
      "id": %s,
      "tier": %s,
      "vip": %s
    }"""
_BUDGET = """\
{
        "critical_usd": "%s",
        "warn_usd": "%s"
      }"""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class ExporterFileError(ValueError):
    """The exporter's file cannot be used; the message says where, why and what to do."""

    def __init__(self, place: str, fault: str) -> None:
        super().__init__(f"{place}: {fault}. The file is written by `reliary compile`: compile the definitions again")


@dataclass(frozen=True, slots=True)
class ExporterTenant:
    """A tenant's facts; `budget` is None in a stack without prices."""

    id: str
    tier: str
    vip: bool
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class ComponentWeight:
    """The share (0..1) that a component has in the health score."""

    component: str
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class HealthSource:
    """PromQL for the score per tenant and for its components, and the weights, which sum to 1."""

    profile: str
    score_query: str
    components_query: str
    weights: tuple[ComponentWeight, ...]


@dataclass(frozen=True, slots=True)
class CostSource:
    """PromQL for the estimated USD per tenant and 30 days."""

    estimate_query: str


@dataclass(frozen=True, slots=True)
class ExporterConfig:
    """Everything the exporter knows of a stack. `health` and `cost` are None where the stack has neither.

    `release` is the digest of the build. What was read longer than `stale_seconds` ago is no longer published.
    """

    release: str
    stack: str
    prometheus_url: str
    refresh_seconds: int
    stale_seconds: int
    tenant_label: str
    tenants: tuple[ExporterTenant, ...]
    health: HealthSource | None
    cost: CostSource | None


def exporter_config(stack: Stack, site: Site, release: str) -> ExporterConfig:
    """What the exporter of this stack needs, on this site. Tenants are sorted by id."""
    return ExporterConfig(
        release=release,
        stack=stack.name,
        prometheus_url=f"http://{site.prometheus}",
        refresh_seconds=_refresh_seconds(stack),
        stale_seconds=stale_seconds(stack),
        tenant_label=stack.tenant_label,
        tenants=_tenants(stack),
        health=None if stack.health is None else _health(stack, stack.health),
        cost=None if stack.costs is None else _cost(stack),
    )


def stale_seconds(stack: Stack) -> int:
    """The age in seconds from which a value is no longer published: some missed rounds, and time for a restart."""
    return max(STALE_AFTER_ROUNDS * _refresh_seconds(stack), MIN_STALE_SECONDS)


def _refresh_seconds(stack: Stack) -> int:
    return max(stack.evaluation_interval_seconds, MIN_REFRESH_SECONDS)


def _tenants(stack: Stack) -> tuple[ExporterTenant, ...]:
    ordered = sorted(stack.tenants, key=lambda tenant: tenant.id)
    return tuple(ExporterTenant(tenant.id, tenant.tier, tenant.vip, stack.budget(tenant)) for tenant in ordered)


def _health(stack: Stack, health: HealthScore) -> HealthSource:
    # One value per tenant is asked for, the worse one where there are two: duplicates would void the whole scrape.
    total = Decimal(sum(component.weight for component in health.components))
    return HealthSource(
        profile=health.profile,
        score_query=f"min by ({stack.tenant_label}) ({names.health_series(stack)})",
        components_query=f"min by ({stack.tenant_label}, component) ({names.component_series(stack, 'point')})",
        weights=tuple(ComponentWeight(component.name, component.weight / total) for component in health.components),
    )


def _cost(stack: Stack) -> CostSource:
    return CostSource(f"max by ({stack.tenant_label}) ({names.cost_estimate_series(stack)})")


def to_text(config: ExporterConfig) -> str:
    """The file: JSON with sorted keys, the same bytes for the same configuration."""
    content = {"format": FORMAT, **asdict(replace(config, tenants=()))}
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    if config.tenants:
        # `tenants` is the last key. Ten thousand of them would keep the encoder busy for a quarter of a second.
        rows = ",\n".join(map(_tenant_text, config.tenants))
        text = text.removesuffix("[]\n}") + f"[\n{rows}\n  ]\n}}"
    return text + "\n"


def _tenant_text(tenant: ExporterTenant) -> str:
    """The lines of one tenant, as `json.dumps` would write them."""
    budget = "null" if tenant.budget is None else _BUDGET % (tenant.budget.critical_usd, tenant.budget.warn_usd)
    return _TENANT % (budget, _json(tenant.id), _json(tenant.tier), "true" if tenant.vip else "false")


def from_text(text: str) -> ExporterConfig:
    """The configuration in a file of `to_text`. Raises ExporterFileError at the first thing that cannot be used."""
    root = _Fields("exporter file", _parsed(text))
    if root.whole("format") != FORMAT:
        raise root.fault("format", f"this exporter reads format {FORMAT}; use the exporter of the same release")
    label = root.text("tenant_label")
    if not _LABEL_NAME.fullmatch(label) or label in RESERVED_LABELS:
        raise root.fault("tenant_label", f"{label!r} cannot be the tenant label of the exporter's series")
    health, cost = root.child("health"), root.child("cost")
    return ExporterConfig(
        release=root.text("release"),
        stack=root.text("stack"),
        prometheus_url=_url(root),
        refresh_seconds=root.whole("refresh_seconds"),
        stale_seconds=root.whole("stale_seconds"),
        tenant_label=label,
        tenants=_read_tenants(root),
        health=None if health is None else _read_health(health),
        cost=None if cost is None else CostSource(cost.text("estimate_query")),
    )


def _parsed(text: str) -> object:
    try:
        content: object = json.loads(text)
        # JSON may spell half a character (\ud800), which no exposition can carry.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ExporterFileError("exporter file", f"it is not readable as JSON ({error})") from error
    return content


@dataclass(frozen=True, slots=True)
class _Fields:
    """An object of the file and its place in it; each reader returns one type or raises with the place."""

    place: str
    content: object

    def fault(self, key: str, fault: str) -> ExporterFileError:
        return ExporterFileError(f"{self.place}, {key}", fault)

    def get(self, key: str) -> object:
        if not isinstance(self.content, Mapping):
            raise ExporterFileError(self.place, "an object was expected here")
        return self.content.get(key)

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value:
            raise self.fault(key, "text was expected here")
        return value

    def whole(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fault(key, "a whole number from 1 was expected here")
        return value

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if not isinstance(value, bool):
            raise self.fault(key, "true or false was expected here")
        return value

    def amount(self, key: str) -> Decimal:
        try:
            value = Decimal(self.text(key))
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0:
            raise self.fault(key, "an amount from 0 was expected here")
        return value

    def child(self, key: str) -> _Fields | None:
        value = self.get(key)
        return None if value is None else _Fields(f"{self.place}, {key}", value)

    def children(self, key: str) -> tuple[_Fields, ...]:
        value = self.get(key)
        if not isinstance(value, list):
            raise self.fault(key, "a list was expected here")
        return tuple(_Fields(f"{self.place}, {key}[{number}]", item) for number, item in enumerate(value))

    def refuse_duplicates(self, key: str, identities: Iterable[str]) -> None:
        twice = [identity for identity, count in Counter(identities).items() if count > 1]
        if twice:
            raise self.fault(key, f"{twice[0]!r} stands there more than once")


def _url(root: _Fields) -> str:
    url = root.text("prometheus_url")
    if not url.startswith(("http://", "https://")):
        raise root.fault("prometheus_url", "an address that begins with http:// or https:// was expected here")
    return url


def _read_tenants(root: _Fields) -> tuple[ExporterTenant, ...]:
    tenants = tuple(_read_tenant(fields) for fields in root.children("tenants"))
    root.refuse_duplicates("tenants", (tenant.id for tenant in tenants))
    return tenants


def _read_tenant(fields: _Fields) -> ExporterTenant:
    budget = fields.child("budget")
    limits = None if budget is None else Budget(budget.amount("warn_usd"), budget.amount("critical_usd"))
    return ExporterTenant(fields.text("id"), fields.text("tier"), fields.flag("vip"), limits)


def _read_health(fields: _Fields) -> HealthSource:
    listed = fields.children("weights")
    weights = tuple(ComponentWeight(weight.text("component"), weight.amount("ratio")) for weight in listed)
    fields.refuse_duplicates("weights", (weight.component for weight in weights))
    if round(sum(weight.ratio for weight in weights), 9) != 1:
        raise fields.fault("weights", "the ratios do not sum to 1")
    return HealthSource(fields.text("profile"), fields.text("score_query"), fields.text("components_query"), weights)
