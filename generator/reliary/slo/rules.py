"""Rules of the SLO classes: one vectorised set for all tenants, three groups a class.

fast (evaluation interval): 5m rates, windows up to 6h from their sums, page alerts. tile (5m): non-overlapping sums
of those rates, read only over ranges. slow (2m): longer windows from the tiles, what is consumed, ticket alerts.
Measured against per-tenant copies: docs/decisions/004-slo-rules.md. What is the same for every class, such as
what remains of a budget, is in `budgets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reliary import maintenance, names, promql, windows
from reliary.alerting import notes
from reliary.artifacts import Alert, Labels, Recording, RuleFile, RuleGroup, Site
from reliary.guards import BurnMargin, Guard, MinimumEvents, Unguarded
from reliary.model import BurnTier, Slo, Stack
from reliary.promql import number, series
from reliary.slo import calendars, events, shards

RATE_SECONDS = 300
TILE_SECONDS = 300
SLOW_SECONDS = 120
EXACT_BELOW_SECONDS = 3600
RECORDED_TOTAL_SECONDS = 3600
"""Guards count the events of a window; from longer ones on that sum is recorded, since a scan costs more than it."""


def slo_files(stack: Stack, site: Site) -> tuple[RuleFile, ...]:
    """One file a class, `rules/slo-<name>.yml`, or one for each of its shards."""
    return tuple(file for slo in stack.slos for file in _files(stack, site, slo))


def _files(stack: Stack, site: Site, slo: Slo) -> Iterator[RuleFile]:
    if shards.count(stack, slo) == 1:
        yield _file(stack, site, slo)
        return
    for shard, matcher in enumerate(shards.matchers(stack)):
        source = shards.narrowed(slo.source, matcher)
        assert source is not None
        yield shards.part(_file(stack, site, replace(slo, source=source)), slo, shard, matcher)


def _file(stack: Stack, site: Site, slo: Slo) -> RuleFile:
    fast = tuple(tier for tier in slo.burn if tier.long_seconds <= windows.FAST_LIMIT_SECONDS)
    slow = tuple(tier for tier in slo.burn if tier.long_seconds > windows.FAST_LIMIT_SECONDS)
    name = f"{stack.name}-slo-{slo.name}"
    groups = (
        RuleGroup(
            f"{name}-fast", stack.evaluation_interval_seconds, (*_fast(stack, slo), *_alerts(stack, site, slo, fast))
        ),
        RuleGroup(f"{name}-tile", TILE_SECONDS, tuple(_tiles(slo))),
        RuleGroup(f"{name}-slow", SLOW_SECONDS, (*_slow(stack, slo), *_alerts(stack, site, slo, slow))),
    )
    return RuleFile(names.rule_file(f"slo-{slo.name}"), f"{slo.name}: {slo.description}", groups)


def _labels(slo: Slo) -> Labels:
    return ((names.SLO_LABEL, slo.name),)


def _of(name: str, slo: Slo) -> str:
    return series(name, *_labels(slo))


def _fast(stack: Stack, slo: Slo) -> Iterator[Recording]:
    labels, counted = _labels(slo), events.total(stack, slo, RATE_SECONDS)
    on, masks = f"on ({stack.tenant_label})", maintenance.masks(stack, slo.name)
    yield Recording(names.SLO_TOTAL_RATE, "\nunless ".join([counted, *masks]), labels)
    if masks:
        excluded = "\nor ".join(f"(({counted})\nand {mask})" for mask in masks)
        yield Recording(names.SLO_EXCLUDED_RATE, excluded, labels)
    bad = events.errors(stack, slo, RATE_SECONDS, _of(names.SLO_TOTAL_RATE, slo))
    yield Recording(names.SLO_ERRORS_RATE, f"({bad})\nand {on} {_of(names.SLO_TOTAL_RATE, slo)}", labels)
    yield Recording(names.SLO_BUDGET, _budget(stack, slo), labels)
    for window in windows.burn_windows(slo):
        if window <= windows.FAST_LIMIT_SECONDS:
            if _records_total(slo, window):
                total = promql.sum_over_time(_of(names.SLO_TOTAL_RATE, slo), window)
                yield Recording(names.total_sum(window), total, labels)
            yield Recording(names.burn_rate(window), _fast_burn(stack, slo, window), labels)


def _records_total(slo: Slo, window: int) -> bool:
    """True when a guard counts the events of a window that is dear to scan."""
    return window > RECORDED_TOTAL_SECONDS and window in {tier.long_seconds for tier in slo.burn}


def _tiles(slo: Slo) -> Iterator[Recording]:
    for tile, rate in ((names.SLO_ERRORS_TILE, names.SLO_ERRORS_RATE), (names.SLO_TOTAL_TILE, names.SLO_TOTAL_RATE)):
        expr = promql.sum_over_time(_of(rate, slo), TILE_SECONDS)
        yield Recording(tile, calendars.marked(slo, expr), _labels(slo))


def _slow(stack: Stack, slo: Slo) -> Iterator[Recording]:
    labels, keep = _labels(slo), (stack.tenant_label, names.SLO_LABEL)
    for window in windows.burn_windows(slo):
        if window > windows.FAST_LIMIT_SECONDS:
            bad, total = (
                calendars.unmarked(slo, promql.sum_over_time(_of(tile, slo), window), keep)
                for tile in (names.SLO_ERRORS_TILE, names.SLO_TOTAL_TILE)
            )
            yield Recording(names.burn_rate(window), _burn(slo, bad, total), labels)
    yield Recording(names.SLO_TOTAL_WINDOW, calendars.window_sum(slo, _of(names.SLO_TOTAL_TILE, slo), keep), labels)
    bad = calendars.window_sum(slo, _of(names.SLO_ERRORS_TILE, slo), keep)
    burnt = _burn(slo, bad, _of(names.SLO_TOTAL_WINDOW, slo))
    yield Recording(names.SLO_BUDGET_CONSUMED, calendars.so_far(slo, burnt), labels)


def _budget(stack: Stack, slo: Slo) -> str:
    """1 - objective for every tenant with a past: its own, else its tier's, else the default of the class.

    Who has vanished, or is within a planned window, keeps what was spent; that there is no data is told by the state.

    `max by` because one duplicate objective would otherwise blind all tenants; an hour of `last_over_time` because
    facts may be late after a restart.
    """
    on = f"{stack.tenant_label}, {names.SLO_LABEL}"
    seen = f"({_of(names.SLO_TOTAL_RATE, slo)} or {_of(names.SLO_TOTAL_WINDOW, slo)})"
    own = f"1 - max by ({on}) (last_over_time({_of(names.OBJECTIVE, slo)}[1h]))"
    parts = [f"({own})\nand on ({on}) {seen}"]
    for tier, objective in slo.by_tier:
        members = f"last_over_time({series(names.TENANT_INFO, ('tier', tier))}[1h])"
        promised = number(windows.budget(objective))
        parts.append(f"(0 * {seen} and on ({stack.tenant_label}) {members}) + {promised}")
    parts.append(f"0 * {seen} + {number(windows.budget(slo.default))}")
    return f"\nor on ({on})\n".join(parts)


def _fast_burn(stack: Stack, slo: Slo, window: int) -> str:
    """The burn rate over up to 6h: of the recorded rates, or of the raw counters where that is needed to be exact."""
    if _reads_counters(stack, slo, window):
        total = events.total(stack, slo, window)
        bad = events.errors(stack, slo, window, f"({total})")
        return f"({bad})\n/ (({total}) > 0)\n/ on ({stack.tenant_label}) {_of(names.SLO_BUDGET, slo)}"
    bad, total = _of(names.SLO_ERRORS_RATE, slo), _of(names.SLO_TOTAL_RATE, slo)
    if window > RATE_SECONDS:
        bad, total = promql.sum_over_time(bad, window), promql.sum_over_time(total, window)
    if _records_total(slo, window):
        total = _of(names.total_sum(window), slo)
    return _burn(slo, bad, total)


def _reads_counters(stack: Stack, slo: Slo, window: int) -> bool:
    """Sums of 5m rates lag by half of their window: 4 % of an error ratio over 30m, 2 % and less from an hour on.

    Counters know nothing of planned windows, so a class that leaves some out lives with the lag.
    """
    if window <= RATE_SECONDS or stack.exclusions(slo.name):
        return False
    return slo.exact or window < EXACT_BELOW_SECONDS


def _burn(slo: Slo, bad: str, total: str) -> str:
    return f"{bad} / ({total} > 0)\n/ {_of(names.SLO_BUDGET, slo)}"


def _alerts(stack: Stack, site: Site, slo: Slo, tiers: tuple[BurnTier, ...]) -> Iterator[Alert]:
    for tier in tiers:
        yield _alert(stack, site, slo, tier)


def _alert(stack: Stack, site: Site, slo: Slo, tier: BurnTier) -> Alert:
    on = (stack.tenant_label, names.SLO_LABEL)
    limit = number(windows.factor(tier, slo.window_seconds))
    both = f"{_of(names.burn_rate(tier.long_seconds), slo)} > {limit}\nand on ({', '.join(on)})\n"
    return Alert(
        alert=names.SLO_ALERT,
        condition=f"{both}{_of(names.burn_rate(tier.short_seconds), slo)} > {limit}",
        guard=_guard(stack, slo, tier, limit),
        on=on,
        for_seconds=tier.for_seconds,
        keep_firing_for_seconds=tier.keep_firing_for_seconds,
        labels=(
            ("severity", tier.severity),
            ("kind", "slo"),
            ("burn", f"{names.duration(tier.long_seconds)}"),
            ("owner", slo.owner),
        ),
        annotations=notes(
            stack,
            site,
            names.SLO_ALERT,
            f"{slo.name} burns its error budget",
            f'the {calendars.spoken(slo)} budget burns {{{{ printf "%.1f" $value }}}} times too '
            f"fast, over {names.duration(tier.long_seconds)} and {names.duration(tier.short_seconds)}.",
        ),
    )


def _guard(stack: Stack, slo: Slo, tier: BurnTier, limit: str) -> Guard:
    rate, budget = _of(names.burn_rate(tier.long_seconds), slo), _of(names.SLO_BUDGET, slo)
    seen = f"{stack.evaluation_interval_seconds} * {_events(stack, slo, tier.long_seconds)}"
    if slo.guard.kind == "none":
        return Unguarded("switched off in the definition")
    if slo.guard.kind == "counts":
        return MinimumEvents(f"{rate} * {budget} * {seen}", seen, slo.guard.bad, slo.guard.total)
    return BurnMargin(rate, f"({seen} * {budget})", limit, windows.CONFIDENCE_Z)


def _events(stack: Stack, slo: Slo, window: int) -> str:
    if window > windows.FAST_LIMIT_SECONDS:
        keep = (stack.tenant_label, names.SLO_LABEL)
        return calendars.unmarked(slo, promql.sum_over_time(_of(names.SLO_TOTAL_TILE, slo), window), keep)
    if window > RECORDED_TOTAL_SECONDS:
        return _of(names.total_sum(window), slo)
    return promql.sum_over_time(_of(names.SLO_TOTAL_RATE, slo), window)
