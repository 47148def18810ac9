"""What holds for whom: objectives, bounds of latency and spend limits by tier and tenant; and who the tenants are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from reliary import windows
from reliary.comparing.changes import Change, T, Word, paired, rising, shown, whole
from reliary.comparing.slos import pairs_of
from reliary.explaining.words import window_words
from reliary.model import Budget, Latency, Slo, Stack, Tenant
from reliary.names import duration
from reliary.promql import number

OfTier: TypeAlias = Callable[[str | None], Decimal]
OfTenant: TypeAlias = Callable[[Tenant], Decimal]


@dataclass(frozen=True, slots=True)
class _Side:
    """A number that holds by default (None), by tier and by tenant, in one of the two stacks."""

    stack: Stack
    of_tier: OfTier
    of_tenant: OfTenant


def _objectives(old: Stack, new: Stack) -> Iterator[Change]:
    for before, after in pairs_of(old, new).values():
        sides = _objective(old, before), _objective(new, after)
        effect = f"the budget of {window_words(after)} is judged by it at once"
        yield from _held("objective", after.name, sides, "%", ("stricter", "looser"), effect)


def _objective(stack: Stack, slo: Slo) -> _Side:
    return _Side(
        stack,
        lambda tier: dict(slo.by_tier).get(tier or "", slo.default),
        lambda tenant: stack.objective(slo, tenant),
    )


def _bounds(old: Stack, new: Stack) -> Iterator[Change]:
    for before, after in pairs_of(old, new).values():
        if isinstance(before.source, Latency) and isinstance(after.source, Latency):
            sides = _bound(old, before.source), _bound(new, after.source)
            effect = f"the recorded past of {duration(windows.reach(before))} was counted with the old bound"
            yield from _held("latency bound", after.name, sides, "s", ("looser", "stricter"), effect)


def _bound(stack: Stack, source: Latency) -> _Side:
    def of_tier(tier: str | None) -> Decimal:
        return dict(source.by_tier).get(tier or "", source.within_seconds)

    return _Side(stack, of_tier, lambda tenant: of_tier(tenant.tier))


def _budgets(old: Stack, new: Stack) -> Iterator[Change]:
    if old.costs is not None and new.costs is not None:
        for level in ("warn_usd", "critical_usd"):
            sides = _limit(old, old.costs.budget, level), _limit(new, new.costs.budget, level)
            name = level.removesuffix("_usd")
            yield from _held("budget", name, sides, "USD", ("looser", "stricter"), "")


def _limit(stack: Stack, default: Budget, level: str) -> _Side:
    own = {tier.name: tier.budget for tier in stack.tiers}

    def value(budget: Budget | None) -> Decimal:
        return Decimal(getattr(budget or default, level))

    return _Side(stack, lambda tier: value(own.get(tier or "")), lambda tenant: value(stack.budget(tenant)))


def _held(
    kind: str, what: str, sides: tuple[_Side, _Side], unit: str, up_down: tuple[Word, Word], effect: str
) -> Iterator[Change]:
    """What changed by default, for each tier and for tenants whom neither explains; each is told once."""

    def change(whom: str, before: Decimal, after: Decimal) -> Change:
        was, now = (f"{number(value)} {unit}" for value in (before, after))
        return Change(kind, f"{what}, {whom}", was, now, rising(before, after, *up_down), effect)

    old, new = sides
    groups = _moved(old, new)
    if (default := (old.of_tier(None), new.of_tier(None)))[0] != default[1]:
        yield change("tenants in no list", *default)
    listed = {tier.name for tier in old.stack.tiers}
    for tier in (tier.name for tier in new.stack.tiers if tier.name in listed):
        before, after = old.of_tier(tier), new.of_tier(tier)
        ids = groups.pop((tier, tier, before, after), [])
        if before != after:
            yield change(f"tier {tier} ({_number(len(ids))})", before, after)
    for (was, now, before, after), ids in groups.items():
        where = f"tier {now}" if was == now else f"moved from {was} to {now}"
        yield change(f"{whole(ids)}, {where}", before, after)


def _number(count: int) -> str:
    return f"{count:,} tenant{'' if count == 1 else 's'}"


def _moved(old: _Side, new: _Side) -> dict[tuple[str, str, Decimal, Decimal], list[str]]:
    """Tenants of both stacks for whom a number changed, by tiers and numbers before and after."""
    known = {tenant.id: tenant for tenant in old.stack.tenants}
    groups: dict[tuple[str, str, Decimal, Decimal], list[str]] = {}
    for tenant in new.stack.tenants:
        former = known.get(tenant.id)
        if former is not None and (before := old.of_tenant(former)) != (after := new.of_tenant(tenant)):
            groups.setdefault((former.tier, tenant.tier, before, after), []).append(tenant.id)
    return groups


# -- tenants


def _tenants(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({tenant.id: tenant for tenant in stack.tenants} for stack in (old, new))
    gone = [tenant for id_, tenant in before.items() if id_ not in after]
    for tier, ids in _grouped((tenant.tier, tenant.id) for tenant in gone):
        effect = "unlisted: while there is traffic the defaults hold, and their own objectives and budgets do not"
        yield Change("tenant", f"tier {tier}: {_number(len(ids))}", whole(ids), None, "removed", effect)
    came = [tenant for id_, tenant in after.items() if id_ not in before]
    for tier, ids in _grouped((tenant.tier, tenant.id) for tenant in came):
        yield Change("tenant", f"tier {tier}: {_number(len(ids))}", None, whole(ids), "added")
    stayed = [(before[id_], tenant) for id_, tenant in after.items() if id_ in before]
    for field in ("tier", "vip"):
        moves = ((_field(one, field), _field(other, field), other.id) for one, other in stayed)
        for (was, now), ids in _grouped(((was, now), id_) for was, now, id_ in moves if was != now):
            word: Word = "changed" if field != "vip" else "louder" if now == "yes" else "quieter"
            yield Change("tenant", f"{whole(ids)}: {field}", was, now, word)
    yield from _renamed([(one, other) for one, other in stayed if one.name != other.name])


def _renamed(pairs: list[tuple[Tenant, Tenant]]) -> Iterator[Change]:
    """Display names: one by one there would be as many changes as tenants."""
    if len(pairs) == 1:
        [(one, other)] = pairs
        yield Change("tenant", f"{other.id}: name", one.name, other.name, "changed")
    elif pairs:
        yield Change("tenant", f"{whole([other.id for _, other in pairs])}: name", "names", "other names", "changed")


def _field(tenant: Tenant, field: str) -> str:
    return str(shown(getattr(tenant, field)))


def _grouped(pairs: Iterator[tuple[T, str]]) -> Iterator[tuple[T, list[str]]]:
    groups: dict[T, list[str]] = {}
    for key, id_ in pairs:
        groups.setdefault(key, []).append(id_)
    yield from groups.items()


def _tiers(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({tier.name: tier for tier in stack.tiers} for stack in (old, new))
    yield from paired("tier", before, after, lambda tier: tier.name, lambda *_: ())


PROMISES = (_objectives, _bounds)
TENANTS = (_tenants, _tiers, _budgets)
