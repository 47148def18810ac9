"""Figures for the report: what changed in meaning, as numbers that can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

from reliary import windows
from reliary.model import BurnTier
from reliary.names import duration
from reliary.promql import number

LEAST_BAD = int((windows.CONFIDENCE_Z**2).to_integral_value(ROUND_CEILING))
"""Bad events below which the margin b - z sqrt(b) is not even positive: fewer can never alert."""


def percent(share: Decimal) -> str:
    """A share as a percentage of four figures at most: 0.0144 -> `1.44 %`."""
    value = share * 100
    digits = max(0, 3 - value.adjusted()) if value else 0
    return f"{number(value.quantize(Decimal(1).scaleb(-min(digits, 6))))} %"


def short(value: Decimal) -> str:
    """A factor of four figures at most."""
    return number(value.quantize(Decimal(1).scaleb(-max(0, 3 - value.adjusted())))) if value else "0"


def factors(tiers: Iterable[BurnTier], window_seconds: int) -> str:
    """Factors with their windows: `14.4 over 1h and 5m, 6 over 6h and 30m`."""
    return ", ".join(
        f"{short(windows.factor(tier, window_seconds))} over {duration(tier.long_seconds)} and "
        f"{duration(tier.short_seconds)}"
        for tier in tiers
    )


def one_error_fires(tier: BurnTier, window_seconds: int, objective: Decimal) -> int:
    """Events in the long window up to which a single bad one is above a bare threshold."""
    limit = windows.factor(tier, window_seconds) * windows.budget(objective)
    least = int((1 / limit).to_integral_value(ROUND_CEILING))
    return least - 1


def unreachable(tiers: Iterable[BurnTier], window_seconds: int, objective: Decimal) -> list[BurnTier]:
    """Tiers that would need more than 100 % errors."""
    return [tier for tier in tiers if windows.factor(tier, window_seconds) * windows.budget(objective) >= 1]


def guard_change(tiers: tuple[BurnTier, ...], window_seconds: int, objective: Decimal) -> str:
    """What the traffic guard means for one objective."""
    tier = tiers[0]
    many = one_error_fires(tier, window_seconds, objective)
    limit = windows.factor(tier, window_seconds) * windows.budget(objective)
    alone = f"among {many:,} or fewer" if many > 1 else "if there is no other"
    return (
        f"the {tier.severity} over {duration(tier.long_seconds)} needs more than {percent(limit)} errors in both "
        f"windows. Without a guard one bad event {alone} is enough; here it takes {LEAST_BAD} at least and 95 % "
        "certainty (`guard: none` in `alerts` leaves the guard out)."
    )


def unweighted_example() -> str:
    """How far a mean of ratios is from a ratio of sums, by an example that can be done on paper."""
    clean, failing = 100 * 60 * 10_000, 20 * 60
    true, mean = Decimal(failing) / (clean + failing), Decimal(20) / 120
    return (
        f"100 minutes at 10,000 requests a second without a fault, then 20 at one a second that all fail: "
        f"{percent(mean)} errors as a mean of ratios, {percent(true)} of the requests"
    )
