"""Who the tenants are, what was promised to them, and what their usage costs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from reliary.definitions.queries import counter
from reliary.definitions.root import Names, Root
from reliary.definitions.shapes import Fields
from reliary.model import Budget, Costs, Price, Tenant, Tier
from reliary.problems import Place


def tiers(root: Root) -> tuple[Tier, ...]:
    """The tiers. `default` cannot be one: objectives use that name for tenants of no tier."""
    found = []
    for name, place, row in root.records("tiers"):
        if name == "default":
            message = "`default` is no tier: objectives use the word for tenants that are in no list."
            root.faults.add("B117", place, message, "Choose another name.")
        found.append(Tier(name, row.maybe("description", str) or name, _own_budget(root, row)))
    return tuple(found)


def tenants(root: Root) -> tuple[Tenant, ...]:
    """The tenants of all files, in their order. An id may be given once."""
    return tuple(_tenants(root))


def _tenants(root: Root) -> Iterator[Tenant]:
    first: dict[str, Fields] = {}
    known_tiers, known_slos = root.names("tiers"), root.names("slos")
    for item in root.fields.items("tenants", Fields):
        row = item.value
        id_ = row.maybe("id", str)
        if id_ in first:
            message = f"the tenant `{id_}` is defined twice; the first is at {first[id_].at('id')}."
            root.faults.add("B115", row.at("id"), message, "Keep one of the two.")
        elif id_ is not None:
            first[id_] = row
        if id_ is None or not row.whole:
            continue
        tier = row.get("tier", str)
        if known_tiers is not None and tier not in known_tiers:  # asked first, because a place may have to be read
            root.known(tier, known_tiers, "tier", row.at("tier"))
        own = _objectives(root, row, known_slos) if row.has("objectives") else ()
        budget = _own_budget(root, row) if row.has("budget") else None
        yield Tenant(id_, row.maybe("name", str) or id_, tier, row.maybe("vip", bool) or False, own, budget)


def _objectives(root: Root, row: Fields, known: Names) -> tuple[tuple[str, Decimal], ...]:
    return tuple((slo, value) for slo, value, _ in root.numbers(row, "objectives", known, "SLO"))


def _own_budget(root: Root, row: Fields) -> Budget | None:
    """The limits of a tenant or tier, None when it has none; they count only where usage has a price."""
    if row.has("budget") and root.complete and not (root.fields.has("prices") or root.fields.has("budgets")):
        message = "a budget has no effect without prices."
        root.faults.add("B112", row.at("budget"), message, "Define `prices` and `budgets`, or remove it.")
    return root.budget(row)


def costs(root: Root) -> Costs | None:
    """Prices and the budget of every tenant; the one makes no sense without the other."""
    fields = root.fields
    prices = tuple(price for record in root.records("prices") if (price := _price(root, *record)) is not None)
    budget = root.budget(fields, "budgets")
    if root.complete and fields.has("prices") != fields.has("budgets"):
        key, other = ("prices", "budgets") if fields.has("prices") else ("budgets", "prices")
        root.faults.add("B112", fields.places[key], f"`{key}` without `{other}`.", f"Define `{other}` too.")
    return Costs(prices, budget) if prices and budget else None


def _price(root: Root, name: str, _: Place, row: Fields) -> Price | None:
    selector = counter(root, row, "counter")
    if selector is None:
        return None
    return Price(name, selector, row.maybe("per", Decimal) or Decimal(1), row.get("usd", Decimal))
