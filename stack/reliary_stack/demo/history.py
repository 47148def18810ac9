"""The past of a demo: what its recorded series would hold if it had run for a month.

Without it, 30-day budgets and cost estimates of a fresh stack say nothing for days. The values are the expectation
of the traffic model: no chance, and the time is an argument, so the same end gives the same bytes.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from reliary import names
from reliary.artifacts import Labels
from reliary.model import Events, Latency, Ratio, Selector, Slo, Stack
from reliary_stack.demo.traffic import COUNTED, Counts, DemoTenant, expected_counts, healthy_share_within

__all__ = ["HistoryError", "backfill", "demo_tenants", "openmetrics"]

TILE_SECONDS = 300
HOUR_SECONDS = 3600
COST_SECONDS = 8 * 86400
# A newer sample could meet the first one that the started server records itself.
GAP_SECONDS = 600
# Backfilling reads its input once a block: with the usual two hours, a month takes 70 times as long.
BLOCK = "54h"
PROMTOOL_SECONDS = 600

Field: TypeAlias = Callable[[Counts], float]


class HistoryError(Exception):
    """Past data could not be written; `log_lines` is what promtool said last."""

    def __init__(self, reason: str, log_lines: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.log_lines = log_lines


@dataclass(frozen=True, slots=True)
class _Series:
    """One value per tenant, every `step` seconds for the last `span` seconds."""

    name: str
    labels: Labels
    value: Field
    span: int
    step: int


def demo_tenants(stack: Stack) -> tuple[DemoTenant, ...]:
    """The tenants with the traffic of their tier; none for a stack without a demo, none of a tier without a rate."""
    rates = dict(stack.demo.requests_per_second) if stack.demo else {}
    return tuple(DemoTenant(each.id, float(rates[each.tier])) for each in stack.tenants if each.tier in rates)


def backfill(stack: Stack, now: float, storage: Path, promtool: Path) -> None:
    """Writes the blocks of `openmetrics` into a new folder `storage`, which appears when it is complete.

    `now` is in epoch seconds. Raises HistoryError, or OSError.
    """
    with tempfile.TemporaryDirectory(prefix=".history-", dir=storage.parent) as scratch:
        text, blocks = Path(scratch, "history.om"), Path(scratch, "blocks")
        with text.open("w", encoding="utf-8") as file:
            file.writelines(openmetrics(stack, now))
        blocks.mkdir()
        _create_blocks(promtool, text, blocks)
        blocks.rename(storage)


def _create_blocks(promtool: Path, text: Path, blocks: Path) -> None:
    options = ("--quiet", f"--max-block-duration={BLOCK}")
    command = (promtool, "tsdb", "create-blocks-from", *options, "openmetrics", text, blocks)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROMTOOL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise HistoryError(f"promtool took longer than {PROMTOOL_SECONDS} seconds", ()) from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        raise HistoryError("promtool refused the past data", tuple(lines[-15:]))


def openmetrics(stack: Stack, now: float) -> Iterator[str]:
    """The past as OpenMetrics lines: cost tiles of 8 days, and SLO tiles of the longest SLO window.

    They end ten minutes before `now` (epoch seconds). What the demo does not count is left out. An SLO point stands
    for an hour, that is for the twelve tiles in it: these are only ever summed over long ranges.
    """
    end = int(now - GAP_SECONDS) // TILE_SECONDS * TILE_SECONDS
    tenants = demo_tenants(stack)
    # OpenMetrics wants all lines of a name together.
    for series in sorted((*_cost_series(stack), *_slo_series(stack)), key=lambda each: each.name):
        for tenant in tenants:
            yield from _lines(series, stack.tenant_label, tenant, end)
    yield "# EOF\n"


def _lines(series: _Series, tenant_label: str, tenant: DemoTenant, end: int) -> Iterator[str]:
    """One line a step; a point tells what happened in the step that ends with it."""
    head = _head(series.name, ((tenant_label, tenant.id), *series.labels))
    for back in reversed(range(series.span // series.step)):
        time = end - back * series.step
        yield f"{head} {series.value(expected_counts(tenant, time - series.step, series.step))!r} {time}\n"


def _head(name: str, labels: Labels) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    return f"{name}{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _cost_series(stack: Stack) -> Iterator[_Series]:
    name = names.cost_tile_series(stack)
    for price in stack.costs.prices if stack.costs else ():
        if counted := _counted(price.counter):
            usd = _times(counted, float(price.usd / price.per))
            yield _Series(name, (("resource", price.resource),), usd, COST_SECONDS, TILE_SECONDS)


def _slo_series(stack: Stack) -> Iterator[_Series]:
    """Errors and total. A tile sums rates per second, one an evaluation: events divided by that interval."""
    window = max((slo.window_seconds for slo in stack.slos), default=0)
    for slo in stack.slos:
        # Tiles of a calendar window carry the colour of their period, which only its rules know.
        if slo.calendar is None and (pair := _errors_and_total(slo)):
            labels = ((names.SLO_LABEL, slo.name),)
            for name, value in zip((names.SLO_ERRORS_TILE, names.SLO_TOTAL_TILE), pair, strict=True):
                rates = _times(value, 1 / stack.evaluation_interval_seconds)
                yield _Series(name, labels, rates, window, HOUR_SECONDS)


def _errors_and_total(slo: Slo) -> tuple[Field, Field] | None:
    source = slo.source
    if isinstance(source, Latency) and not source.native:
        return _slow_and_total(source.histogram, source.within_seconds)
    if not isinstance(source, Ratio):
        return None
    counted, total = _counted(source.counted), _counted(source.total)
    if counted is None or total is None:
        return None
    return (counted if source.part == "bad" else lambda counts: total(counts) - counted(counts)), total


def _slow_and_total(histogram: Selector, within_seconds: Decimal) -> tuple[Field, Field] | None:
    requests = _counted(Selector(f"{histogram.text}_count"))
    share = 1 - healthy_share_within(float(within_seconds))
    return (_times(requests, share), requests) if requests else None


def _counted(events: Events) -> Field | None:
    """What the demo counts under this selector; None for a query, and for what is not of the demo."""
    return COUNTED.get(events.text.replace(" ", "")) if isinstance(events, Selector) else None


def _times(value: Field, factor: float) -> Field:
    return lambda counts: value(counts) * factor
