"""Traffic guards: the second half of every alert, per tenant and over the alert's own window.

An alert cannot be made without one of these (see `artifacts.Alert`). Why a margin and not a minimum count or
`> 0`: docs/decisions/001-traffic-guard.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from reliary.promql import number


@dataclass(frozen=True, slots=True)
class Margin:
    """The events that count against the alert exceed the limit by a one-sided 95 % margin: b - z sqrt(b) > limit n.

    `events` and `total` are expressions that give counts in one window, `limit` a share (a number or a series).
    """

    events: str
    total: str
    limit: str
    z: Decimal

    def expr(self) -> str:
        """PromQL with a result for each tenant who surely passed the limit."""
        return f"{self.events} - {number(self.z)} * sqrt({self.events})\n  > {self.limit} * {self.total}"


@dataclass(frozen=True, slots=True)
class Bound:
    """The value that a doubter would grant is past the limit as well; for scores that have such a series."""

    series: str
    direction: str
    limit: Decimal

    def expr(self) -> str:
        """PromQL with a result for each tenant whose bound is past the limit."""
        return f"{self.series} {self.direction} {number(self.limit)}"


@dataclass(frozen=True, slots=True)
class History:
    """Enough points were recorded for an estimate to mean something."""

    series: str
    window: str
    points: int

    def expr(self) -> str:
        """PromQL with a result for each tenant with enough points."""
        return f"count_over_time({self.series}[{self.window}]) >= {self.points}"


@dataclass(frozen=True, slots=True)
class NotTraffic:
    """The alert watches the stack itself, where no request can be bad luck. `reason` is for the reader."""

    reason: str

    def expr(self) -> str:
        """Nothing to add to a condition."""
        return ""


Guard: TypeAlias = Margin | Bound | History | NotTraffic
