"""Shapes of what calendars and clocks say: windows of SLOs, zones, dates and times of the week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reliary.definitions.scalars import Duration, Text
from reliary.definitions.shapes import Faults, JsonSchema, Located
from reliary.definitions.yamltree import Node, Scalar

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
PERIODS = ("month", "quarter")
_DAY = f"(?:{'|'.join(DAYS)})"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"

ZONE = Text(
    "a time zone",
    r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}",
    "an IANA name, such as Europe/Berlin",
    60,
    "B130",
)
EVERY = Text(
    "a time of the week or month",
    rf"(?:daily|{_DAY}(?: {_DAY})*|day (?:[1-9]|[12][0-9]|3[01])) {_CLOCK}",
    "`daily 02:00`, `Sun 02:00`, `Mon Thu 22:30` or `day 1 04:00`",
    60,
    "B130",
)
MOMENT = Text(
    "a local date and time of this century",
    rf"20[0-9]{{2}}-[01][0-9]-[0-3][0-9] {_CLOCK}",
    "2026-12-01 22:00, by the clocks of `zone`",
    60,
    "B130",
)


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling window such as `30d` as seconds, or `month` or `quarter` as the word."""

    rolling: Duration

    def read(self, node: Node, faults: Faults) -> Located[Any] | None:
        if isinstance(node, Scalar) and node.text in PERIODS:
            return Located(node.text, node.place)
        if isinstance(node, Scalar) and node.text.isalpha() and not node.is_null:
            advice = "Write `month`, `quarter`, or a rolling window such as 30d."
            faults.add("B113", node.place, f"`{node.text}` is no window.", advice)
            return None
        return self.rolling.read(node, faults)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": list(PERIODS)}, self.rolling.schema()]}
