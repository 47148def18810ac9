"""Burn-rate arithmetic, in decimals: tables, factors and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import cast

from reliary.assets import asset
from reliary.definitions.schema import WINDOW_TABLE
from reliary.definitions.shapes import Faults, Fields
from reliary.definitions.yamltree import Mapping as YamlMapping
from reliary.definitions.yamltree import parse
from reliary.model import BurnSeverity, BurnTier, Slo
from reliary.problems import Problem

KEEP_FIRING_SECONDS: Mapping[BurnSeverity, int] = {"page": 0, "ticket": 6 * 3600}
"""Against chatter where errors run at just the threshold: of 200 episodes a year 34 are left (docs/decisions/001)."""

CONFIDENCE_Z = Decimal("1.645")
"""Standard deviations of a one-sided 95 % margin. Measured against the alternatives: see docs/decisions/001."""


FACTOR_DIGITS = 6
"""31 days in 3 are a third and something: what is written into rules ends somewhere."""


@cache
def burn_tables() -> dict[str, tuple[BurnTier, ...]]:
    """The tables of rules/windows.yml by name, checked like anything that a user writes."""
    path = asset("rules", "windows.yml")
    tree = parse("rules/windows.yml", path.read_bytes())
    assert isinstance(tree, YamlMapping)
    faults = Faults()
    tables = {}
    for key, node in tree.entries:
        rows = WINDOW_TABLE.read(node, faults)
        if rows is not None and not faults.problems:
            tables[key.text] = tuple(tier_of(row.value) for row in rows.value)
    _refuse(faults.problems)
    return tables


def tier_of(row: Fields) -> BurnTier:
    """One row of a table, of ours or of a definition."""
    severity = cast(BurnSeverity, row.get("severity", str))
    keep = row.maybe("keep_firing_for", int)
    return BurnTier(
        severity=severity,
        long_seconds=row.get("long", int),
        short_seconds=row.get("short", int),
        budget_share=row.maybe("budget_share", Decimal) or Decimal(0),
        own_factor=row.maybe("factor", Decimal),
        for_seconds=row.maybe("for", int) or 0,
        keep_firing_for_seconds=KEEP_FIRING_SECONDS[severity] if keep is None else keep,
    )


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ValueError("; ".join(f"{problem.place}: {problem.message}" for problem in problems))


def factor(tier: BurnTier, window_seconds: int) -> Decimal:
    """Burn rate at which `budget_share` of a budget for `window_seconds` is spent within the long window.

    SRE workbook, chapter 5: 2 % of 30 days in one hour is 14.4. At least 1, whatever the window: 10 % of 28 days in
    three days would be 0.93, and that would call people while the objective is met.
    """
    if tier.own_factor is not None:
        return tier.own_factor
    exact = tier.budget_share * window_seconds / tier.long_seconds
    return max(Decimal(1), round(exact, FACTOR_DIGITS)).normalize()


def budget(objective_percent: Decimal) -> Decimal:
    """The share of events that may be bad: 99.95 -> 0.0005, exactly."""
    return (1 - objective_percent / 100).normalize()


FAST_LIMIT_SECONDS = 6 * 3600
"""The longest window that is read from the recorded 5m rates; longer ones are read from 5-minute tiles."""


def burn_windows(slo: Slo) -> tuple[int, ...]:
    """The windows in seconds, ascending, whose burn rate is recorded: 5m, 1h, and those of the burn tiers."""
    return tuple(sorted({300, 3600} | {w for t in slo.burn for w in (t.long_seconds, t.short_seconds)}))


def reach(slo: Slo) -> int:
    """How far back in seconds the budget looks: a calendar month has up to 31 days and an hour."""
    if slo.calendar is None:
        return slo.window_seconds
    return {"month": 32, "quarter": 93}[slo.calendar.unit] * 86400


def allowed_errors(slo: Slo, objective_percent: Decimal, events: Decimal) -> Decimal:
    """Bad events that a budget allows among so many events."""
    return events * budget(objective_percent)
