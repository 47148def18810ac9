"""Burn-rate arithmetic, in decimals: tables, factors and budgets."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Literal, cast

from reliary.assets import asset
from reliary.definitions.schema import WINDOW_TABLE
from reliary.definitions.shapes import Faults, Fields
from reliary.definitions.yamltree import Mapping, parse
from reliary.model import BurnTier, Slo
from reliary.problems import Problem

CONFIDENCE_Z = Decimal("1.645")
"""Standard deviations of a one-sided 95 % margin. Measured against the alternatives: see docs/decisions/001."""


@cache
def burn_tables() -> dict[str, tuple[BurnTier, ...]]:
    """The tables of rules/windows.yml by name, checked like anything that a user writes."""
    path = asset("rules", "windows.yml")
    tree = parse("rules/windows.yml", path.read_bytes())
    assert isinstance(tree, Mapping)
    faults = Faults()
    tables = {}
    for key, node in tree.entries:
        rows = WINDOW_TABLE.read(node, faults)
        if rows is not None and not faults.problems:
            tables[key.text] = tuple(_tier(row.value) for row in rows.value)
    _refuse(faults.problems)
    return tables


def _tier(row: Fields) -> BurnTier:
    return BurnTier(
        severity=cast(Literal["page", "ticket"], row.get("severity", str)),
        long_seconds=row.get("long", int),
        short_seconds=row.get("short", int),
        budget_share=row.get("budget_share", Decimal),
    )


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ValueError("; ".join(f"{problem.place}: {problem.message}" for problem in problems))


def factor(tier: BurnTier, window_seconds: int) -> Decimal:
    """Burn rate at which `budget_share` of a budget for `window_seconds` is spent within the long window.

    SRE workbook, chapter 5: 2 % of 30 days in one hour is 14.4.
    """
    return (tier.budget_share * window_seconds / tier.long_seconds).normalize()


def budget(objective_percent: Decimal) -> Decimal:
    """The share of events that may be bad: 99.95 -> 0.0005, exactly."""
    return (1 - objective_percent / 100).normalize()


def fast(tier: BurnTier) -> bool:
    """True when both windows are short enough for the recorded 5m rates (see rule groups in docs/tour.md)."""
    return tier.long_seconds <= 6 * 3600


def windows(slo: Slo) -> tuple[int, ...]:
    """All windows of a class in seconds, ascending: 5m, those of its burn tiers, and its own."""
    return tuple(
        sorted({300, 3600, slo.window_seconds} | {w for t in slo.burn for w in (t.long_seconds, t.short_seconds)})
    )
