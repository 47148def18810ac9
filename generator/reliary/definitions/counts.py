"""What is counted: ratios, and the indicators that are made of them."""

from __future__ import annotations

from typing import Literal

from reliary import promql
from reliary.definitions.queries import events
from reliary.definitions.root import COST, HEALTH, Root
from reliary.definitions.shapes import Fields
from reliary.model import Indicator, Ratio
from reliary.problems import Place


def indicators(root: Root) -> tuple[Indicator, ...]:
    """The indicators that could be read."""
    return tuple(found for record in root.records("indicators") if (found := _indicator(root, *record)) is not None)


def ratio(root: Root, place: Place, row: Fields) -> Ratio | None:
    """The events of a record with `total` and one of `good` and `bad`; None after a problem."""
    parts: list[Literal["good", "bad"]] = [part for part in ("good", "bad") if row.has(part)]
    if len(parts) != 1 or not row.has("total"):
        message = "a ratio needs `total` and one of `good` and `bad`."
        root.faults.add("B112", place, message, "Give exactly these two.")
        return None
    counted, total = events(root, row, parts[0]), events(root, row, "total")
    if counted is None or total is None:
        return None
    if promql.same(counted.text, total.text):
        message = f"`{parts[0]}` and `total` count the same: every event would be {parts[0]}."
        root.faults.add("B132", row.at(parts[0]), message, 'Narrow it by a label, such as {code=~"5.."}.')
        return None
    return Ratio(counted, parts[0], total)


def _indicator(root: Root, name: str, place: Place, row: Fields) -> Indicator | None:
    over = row.get("over", int)
    root.long_enough(over, row.at("over"))
    root.retained(over, row.at("over"))
    if name in (HEALTH, COST):
        root.faults.add("B117", place, f"`{name}` already names something else.", "Choose another name.")
    source = ratio(root, place, row)
    if source is None:
        return None
    return Indicator(name, row.maybe("description", str) or name, source, over, row.maybe("as", str) == "percent")
