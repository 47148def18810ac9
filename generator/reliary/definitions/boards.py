"""What people look at: boards and their panels."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, cast

from reliary.definitions.root import COST, HEALTH, Names, Root
from reliary.definitions.shapes import Fields
from reliary.model import Board, Panel
from reliary.problems import Place


def boards(root: Root) -> tuple[Board, ...]:
    """The boards that could be read. No two have one title: Grafana would write neither of them."""
    return tuple(_boards(root))


def _boards(root: Root) -> Iterator[Board]:
    known = _shown(root)
    first: dict[str, Place] = {}
    for uid, _, row in root.records("boards"):
        title, at = row.get("title", str), row.at("title")
        same = title.strip().casefold()
        if same in first:
            message = f"two boards have the title `{title}`; the first is at {first[same]}."
            root.faults.add("B115", at, message, "Change one: Grafana shows neither of two boards with one title.")
        first.setdefault(same, at)
        yield Board(uid, title, tuple(_panel(root, known, item.value) for item in row.items("panels", Fields)))


def _shown(root: Root) -> Names:
    indicators = root.names("indicators")
    others = {name for name, key in ((HEALTH, HEALTH), (COST, "prices")) if root.fields.has(key)}
    return None if indicators is None else indicators | others


def _panel(root: Root, known: Names, row: Fields) -> Panel:
    shows = row.get("shows", str)
    root.known(shows, known, "indicator", row.at("shows"))
    levels = tuple(item.value for item in row.items("levels", Decimal))
    if len(levels) != 2 or levels[0] >= levels[-1]:
        message = "levels are two values, the lower one first."
        root.faults.add("B113", row.at("levels"), message, "Write for example [30, 50].")
    elif shows != COST and levels[1] > 100:
        message = f"`{shows}` is shown from 0 to 100, so the colour never changes at {levels[1]}."
        root.faults.add("B113", row.at("levels"), message, "Choose levels up to 100.")
    form = cast(Literal["gauge", "stat", "timeseries"], row.maybe("as", str) or "gauge")
    return Panel(row.get("title", str), row.maybe("description", str) or "", shows, form, (levels[0], levels[-1]))
