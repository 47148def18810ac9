"""An explained SLO for people: what was promised, a picture of how soon a failure is seen, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import log
from typing import TYPE_CHECKING

from reliary.explaining.explain import Burn, CompositeExplanation, Explanation, Line, Notified
from reliary.explaining.traffic import AtTraffic, Detection
from reliary.explaining.verdicts import WITHIN_SECONDS
from reliary.explaining.words import amount, percent
from reliary.names import duration, rule_file
from reliary.promql import number
from reliary_stack.view import clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

BAR_CELLS = 8
FAST_SECONDS, SOON_SECONDS = 15 * 60, 3600
_ORIGINS = {"tenant": "this tenant's own", "tier": "of its tier", "default": "the default"}


def explanation_view(found: Explanation) -> RenderableType:
    """One SLO, from promise to price."""
    from rich.console import Group
    from rich.text import Text

    whose = f" for {found.tenant} ({found.tier})" if found.tenant else ""
    head = Text(clean(found.slo), "bold").append(clean(whose), "bold")
    parts: list[RenderableType] = [head, Text(clean(found.description), "dim"), Text(), _facts(_promised(found))]
    if found.burn or found.off:
        parts += [Text(), _alerts(found)]
    if found.burn:
        parts += [Text(), _needed(found)]
    parts += [Text(), _soon(found), *_verdicts(found), Text(), _facts(_costs(found))]
    return Group(*parts)


def composite_view(found: CompositeExplanation) -> RenderableType:
    """A composite."""
    from rich.console import Group
    from rich.text import Text

    low, high = number(found.lowest_percent), number(found.highest_percent)
    promised = f"{low} %" if low == high else f"between {low} % and {high} %, by where the events are"
    rows = [
        ("promised", f"{promised}, over {found.window}"),
        ("of", ", ".join(found.of)),
        ("owner", found.owner),
        *(("", sentence) for sentence in found.sentences),
    ]
    return Group(Text(clean(found.composite), "bold"), Text(clean(found.description), "dim"), Text(), _facts(rows))


def overview_view(lines: Sequence[Line]) -> RenderableType:
    """One line an SLO or composite."""
    from rich.text import Text

    table = _table(("SLO", "promised", "over", "alerts"))
    for line in lines:
        cells = (line.name, line.objectives, line.window, line.alerts)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    return table


# -- lines of facts


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(label, "bold cyan"), Text(clean(text)))
    return table


def _promised(found: Explanation) -> list[tuple[str, str]]:
    origin = _ORIGINS[found.origin] if found.tenant else "the default, for tenants in no list"
    rows = [("promised", f"{number(found.objective_percent)} % over {found.window}, {origin}")]
    if len(found.promises) > 1:
        each = (f"{one.whom} {number(one.objective_percent)} % ({one.tenants:,})" for one in found.promises)
        rows.append(("", f"all (tenants): {', '.join(each)}"))
    rows.append(("budget", _budget(found)))
    rows += [("counts" if first else "", text) for first, text in _first(found.counts)]
    rows += [("left out" if first else "", text) for first, text in _first(found.exclusions)]
    rows += [("part of", ", ".join(found.composites))] if found.composites else []
    return [*rows, ("owner", found.owner)]


def _first(texts: Sequence[str]) -> Iterator[tuple[bool, str]]:
    return ((position == 0, text) for position, text in enumerate(texts))


def _budget(found: Explanation) -> str:
    minutes = found.budget_seconds / 60
    total = f"{amount(minutes)} minutes" if minutes < 600 else f"{amount(minutes / 60)} hours"
    total = f"{total} of total failure"
    if len(found.traffic) > 1:
        return total
    at = found.traffic[0]
    events = f"{amount(at.allowed_bad)} bad of {amount(at.events_in_window)} {found.unit}s"
    return f"{total}; at {amount(at.per_hour)} {found.unit}s an hour {events}"


def _costs(found: Explanation) -> list[tuple[str, str]]:
    cost = found.cost
    tenants = f"{cost.tenants:,} listed tenant{'' if cost.tenants == 1 else 's'}"
    return [
        (
            "costs",
            f"{cost.rules} rules in {cost.groups} groups, for any number of tenants "
            f"({cost.shared_rules} more serve all SLOs); {cost.rule_file_bytes:,} bytes in "
            f"{rule_file(f'slo-{found.slo}' if cost.rule_files == 1 else f'slo-{found.slo}-*')}",
        ),
        ("", f"{cost.series_per_tenant} recorded series a tenant, {cost.series:,} for {tenants}"),
        (
            "",
            f"{cost.samples_per_30s:,} samples read every 30s, {cost.samples_at_once:,} if every rule ran at once; of "
            f"scraped series {cost.scraped_samples_per_30s:,} every 30s for each series that a selector finds a tenant",
        ),
    ]


# -- alerts


def _table(headings: Sequence[str], right_from: int = 99) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position >= right_from else "left", overflow="fold")
    return table


def _alerts(found: Explanation) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    table = _table(("alert", "windows", "burns over", "limit", "ends within", "who is told"))
    for tier in found.burn:
        style = "red" if tier.severity == "page" else "yellow"
        waits = f" for {duration(tier.for_seconds)}" if tier.for_seconds else ""
        cells = (
            f"{duration(tier.long_seconds)} and {duration(tier.short_seconds)}{waits}",
            f"{number(round(tier.factor, 3))}x",
            percent(tier.error_ratio),
            _short(tier.clears_within_seconds),
            "\n".join(clean(_told(each, len(tier.notified) > 1)) for each in tier.notified),
        )
        table.add_row(Text(tier.severity, style), *map(Text, cells))
    for off in found.off:
        needs = "off: could never fire" if off.error_ratio >= 1 else "off"
        cells = (duration(off.long_seconds), "", percent(off.error_ratio), "", needs)
        table.add_row(*(Text(cell, "dim") for cell in (off.severity, *cells)))
    if not found.burn:
        return table
    ends = Text(f"An alert fires when both windows are over it, and ends {found.ends}.", "dim")
    return Group(table, ends, Text(clean(f"Guard: {found.guard}."), "dim"))


def _told(one: Notified, by_name: bool) -> str:
    channels = "+".join(one.channels)
    answer = f", within {duration(one.respond_within_seconds)}" if one.respond_within_seconds else ""
    return f"{f'{one.whom}: ' if by_name else ''}{one.receiver} ({channels}){answer}"


def _needed(found: Explanation) -> Table:
    """Bad events in the long window that fire: rows are rates of traffic, columns alerts."""
    from rich.text import Text

    headings = [f"{tier.severity} {duration(tier.long_seconds)}" for tier in found.burn]
    table = _table((f"bad {found.unit}s", *headings, "budget"), right_from=1)
    for at in found.traffic:
        cells = (_bad(each.bad, each.of) for each in at.needed)
        table.add_row(Text(_rate(at)), *cells, Text(amount(at.allowed_bad)))
    return table


def _bad(bad: int | None, of: Decimal) -> Text:
    from rich.text import Text

    if bad is None:
        return Text("too few", "red")
    # More than there are: such an alert cannot fire but by chance.
    return Text(f"{_short_count(Decimal(bad))} of {_short_count(of)}", "red" if bad > of else "")


def _short_count(value: Decimal) -> str:
    """Columns are narrow: `240k` for 240,000."""
    return f"{amount(value / 1000)}k" if value >= 10_000 else amount(value)


def _rate(at: AtTraffic) -> str:
    return f"at {amount(at.per_hour)}/h"


# -- how soon


def _soon(found: Explanation) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if not found.burn:
        return Text("Nobody is told of failures: no alerts are on.", "yellow")
    failures = [percent(each.error_ratio) for each in found.traffic[0].detections]
    table = _table(("seen after", *(f"{failure} fail" for failure in failures[:2]), f"{failures[2]} (2x budget)"))
    for at in found.traffic:
        mark = Text("✓ ", "green") if at.supported else Text("✗ ", "red")
        table.add_row(mark.append(_rate(at), ""), *(_cell(found.burn, each) for each in at.detections))
    least = found.supported_from_per_hour
    enough = "no traffic supports this" if least is None else f"supported from {amount(least)} {found.unit}s an hour on"
    meaning = "✓ the budget holds one bad event and a total failure is told within an hour"
    return Group(table, Text(f"{meaning}: {enough}.", "dim"))


def _cell(burn: Sequence[Burn], detection: Detection) -> Text:
    """A bar on a scale of logarithms from a minute to twelve hours, and the time."""
    from rich.text import Text

    page, ticket = detection.page_seconds, detection.ticket_seconds
    paged = page is not None and page <= WITHIN_SECONDS
    seconds = page if paged or ticket is None else ticket
    if seconds is None:
        return Text("never", "red")
    if seconds > WITHIN_SECONDS:
        return Text("not within 12h", "red")
    style = "green" if seconds <= FAST_SECONDS else "yellow" if seconds <= SOON_SECONDS else "red"
    cells = max(1, round(BAR_CELLS * log(max(seconds, 61) / 60) / log(WITHIN_SECONDS / 60)))
    suffix = " ticket" if not paged and any(tier.severity == "page" for tier in burn) else ""
    return Text.assemble((f"{'█' * cells}{'·' * (BAR_CELLS - cells)}", style), f" {_short(seconds)}{suffix}")


def _short(seconds: int) -> str:
    """`45s`, `18m`, `3h 42m`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds}s"
    hours, rest = divmod(minutes, 60)
    return f"{minutes}m" if not hours else f"{hours}h {rest}m" if rest else f"{hours}h"


def _verdicts(found: Explanation) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    said: set[str] = set()
    for at in found.traffic:
        if at.supported and len(found.traffic) > 1:
            continue
        first, *rest = (sentence for sentence in at.verdict if sentence not in said)
        said.update(rest)
        mark, style = ("✓ ", "green") if at.supported else ("! ", "yellow")
        yield Text()
        yield Text.assemble((mark, style), clean(first))
        yield from (Padding(Text(clean(sentence)), (0, 0, 0, 2)) for sentence in rest)
