"""What is counted: indicators and SLOs, their windows and their objectives."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from reliary import windows
from reliary.definitions.queries import events, histogram
from reliary.definitions.root import COST, HEALTH, Root
from reliary.definitions.shapes import Fields
from reliary.model import Indicator, Latency, Ratio, Slo, Source
from reliary.names import duration
from reliary.problems import Place


def indicators(root: Root) -> tuple[Indicator, ...]:
    """The indicators that could be read."""
    return tuple(found for record in root.records("indicators") if (found := _indicator(root, *record)) is not None)


def slos(root: Root) -> tuple[Slo, ...]:
    """The SLO classes that could be read. Objectives of single tenants are checked here as well."""
    found = tuple(slo for record in root.records("slos") if (slo := _slo(root, *record)) is not None)
    _own_objectives(root, found)
    return found


def _ratio(root: Root, place: Place, row: Fields) -> Ratio | None:
    parts: list[Literal["good", "bad"]] = [part for part in ("good", "bad") if row.has(part)]
    if len(parts) != 1 or not row.has("total"):
        message = "a ratio needs `total` and one of `good` and `bad`."
        root.faults.add("B112", place, message, "Give exactly these two.")
        return None
    counted, total = events(root, row, parts[0]), events(root, row, "total")
    return Ratio(counted, parts[0], total) if counted and total else None


# -- indicators


def _indicator(root: Root, name: str, place: Place, row: Fields) -> Indicator | None:
    over = row.get("over", int)
    root.long_enough(over, row.at("over"))
    root.retained(over, row.at("over"))
    if name in (HEALTH, COST):
        root.faults.add("B117", place, f"`{name}` already names something else.", "Choose another name.")
    source = _ratio(root, place, row)
    if source is None:
        return None
    return Indicator(name, row.maybe("description", str) or name, source, over, row.maybe("as", str) == "percent")


# -- SLOs


def _slo(root: Root, name: str, place: Place, row: Fields) -> Slo | None:
    table = row.maybe("alerts", str) or "google"
    known = root.known(table, frozenset(windows.burn_tables()), "burn-rate table", row.at("alerts"))
    objectives = _objectives(root, row)
    source = _source(root, place, row)
    root.retained(row.get("window", int), row.at("window"))
    if source is None or "default" not in objectives or not known:
        return None
    slo = Slo(
        name,
        row.maybe("description", str) or name,
        source,
        objectives["default"][0],
        tuple((tier, value) for tier, (value, _) in objectives.items() if tier != "default"),
        row.get("window", int),
        windows.burn_tables()[table],
        row.maybe("owner", str) or "unowned",
    )
    _short_windows(root, slo, table, row)
    for value, at in objectives.values():
        _reachable(root, slo, value, at)
    return slo


def _objectives(root: Root, row: Fields) -> dict[str, tuple[Decimal, Place]]:
    """Objective and its place by tier, with `default`."""
    value = row.values["objective"].value
    if isinstance(value, Decimal):
        return {"default": (value, row.at("objective"))}
    names = root.names("tiers")
    known = None if names is None else names | {"default"}
    found = {tier: (number, at) for tier, number, at in root.numbers(row, "objective", known, "tier")}
    if "default" not in found and len(found) == len(row.entries("objective", Decimal)):
        message, advice = "`default` is missing.", "Add `default`: it holds for tenants that are in no list."
        root.faults.add("B112", row.at("objective"), message, advice)
    return found


def _source(root: Root, place: Place, row: Fields) -> Source | None:
    if not row.has("histogram") and not row.has("within"):
        return _ratio(root, place, row)
    if not row.has("histogram") or not row.has("within") or any(row.has(key) for key in ("good", "bad", "total")):
        message = "a latency SLO needs `histogram` and `within`, and nothing else that counts."
        root.faults.add("B112", place, message, "Give exactly these two.")
        return None
    selector = histogram(root, row)
    return None if selector is None else Latency(selector, row.get("within", Decimal))


def _short_windows(root: Root, slo: Slo, table: str, row: Fields) -> None:
    """The windows of a table are not the user's: what can be changed is how often is scraped."""
    shortest = min(300, *(tier.short_seconds for tier in slo.burn))
    if shortest < 4 * root.scrape_seconds:
        place = root.fields.at("scrape_interval")
        message = f"windows of {duration(shortest)} (burn-rate table {table}) hold fewer than four scrapes."
        root.faults.add("B121", place, message, f"Scrape every {shortest // 4}s or more often.")


def _reachable(root: Root, slo: Slo, objective: Decimal, place: Place) -> None:
    """A burn rate is at most 1 / budget. An alert above that is one that people believe in and that never comes."""
    needed = [(tier, windows.factor(tier, slo.window_seconds) * windows.budget(objective)) for tier in slo.burn]
    never = [(tier, share) for tier, share in needed if share >= 1]
    if never:
        tier, share = max(never, key=lambda pair: pair[1])
        which = " and ".join(duration(each.long_seconds) for each, _ in never)
        worst = f"over {duration(tier.long_seconds)} it" if len(never) > 1 else "it"
        message = f"at an objective of {objective} % the alert over {which} can never fire"
        advice = "Raise the objective, shorten `window`, or use a burn-rate table without these rows."
        root.faults.add("B120", place, f"{message}: {worst} would need {share * 100:.0f} % errors.", advice)


def _own_objectives(root: Root, slos: tuple[Slo, ...]) -> None:
    """A tenant's own objective must be one whose alerts can fire."""
    classes = {slo.name: slo for slo in slos}
    seen: set[tuple[str, Decimal]] = set()
    for item in root.fields.items("tenants", Fields):
        for entry in item.value.entries("objectives", Decimal):
            if entry.value is None or entry.key not in classes or (entry.key, entry.value.value) in seen:
                continue
            before = root.faults.count
            _reachable(root, classes[entry.key], entry.value.value, entry.value.place)
            if root.faults.count == before:
                seen.add((entry.key, entry.value.value))
