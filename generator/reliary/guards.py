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
class BurnMargin:
    """The same margin for a burn rate r: with a, the errors that the budget allows in the window, b = r a.

    b - z sqrt(b) > limit a is r - z sqrt(r / a) > limit, so that a class need not record its errors as well.
    """

    rate: str
    allowed: str
    limit: str
    z: Decimal

    def expr(self) -> str:
        """PromQL with a result for each tenant who surely burns faster."""
        return f"{self.rate} - {number(self.z)} * sqrt({self.rate} / {self.allowed})\n  > {self.limit}"


@dataclass(frozen=True, slots=True)
class MinimumEvents:
    """At least so many bad events, and so many events at all, in the window."""

    bad: str
    total: str
    least_bad: int
    least_total: int

    def expr(self) -> str:
        """PromQL with a result for each tenant with enough events."""
        return f"{self.bad} >= {self.least_bad}\n  and {self.total} >= {self.least_total}"


@dataclass(frozen=True, slots=True)
class Unguarded:
    """Somebody chose to be called for one bad request. `reason` is for the reader."""

    reason: str

    def expr(self) -> str:
        """Nothing to add to a condition."""
        return ""


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


Guard: TypeAlias = Margin | BurnMargin | MinimumEvents | Unguarded | Bound | History | NotTraffic
