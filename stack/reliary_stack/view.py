"""What people see: the parts while they start, the status of the tenants, and what went wrong.

Text of others (log lines, labels, names) goes through `clean` and is never read as markup. Colour is never alone:
a symbol says the same. rich turns colour off by itself when NO_COLOR is set or nobody watches.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reliary_stack.engines.engine import EngineError, Part, Report
from reliary_stack.status import Firing, Level, ObjectiveStatus, Reading, StackStatus, Status, TenantStatus

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["clean", "failure", "parts_table", "progress", "status_view"]

_PART_MARKS = {"starting": ("…", "yellow"), "healthy": ("✓", "green"), "failed": ("✗", "red"), "stopped": ("·", "dim")}
_MARKS: dict[Level, tuple[str, str]] = {
    "good": ("", "green"),
    "warning": ("!", "yellow"),
    "bad": ("✗", "bold red"),
    "unknown": ("", "dim"),
    "plain": ("", ""),
}
NOTHING = "–"
TIER_WIDTH, SLO_WIDTH, INDICATOR_WIDTH, SHORTEST_NAME = 10, 12, 11, 8
NAMED_TENANTS = 5


def clean(text: str) -> str:
    """The text without what could steer a terminal or turn its order around: control and format characters."""
    return "".join(char if unicodedata.category(char)[0] != "C" else " " for char in text)


# -- parts


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """A `Report` for an engine: a live table on a terminal, else one line for each change."""
    if not console.is_terminal:
        yield _lines(console)
        return
    from rich.live import Live

    latest: dict[str, Part] = {}
    with Live(console=console, refresh_per_second=10, transient=True) as live:

        def report(part: Part) -> None:
            latest[part.name] = part
            live.update(parts_table(list(latest.values()), spinning=True))

        yield report


def _lines(console: Console) -> Report:
    said: dict[str, Part] = {}

    def report(part: Part) -> None:
        if said.get(part.name) != part:
            said[part.name] = part
            words = (part.name, part.state, part.url, part.detail)
            _print(console, " ".join(clean(word) for word in words if word))

    return report


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def parts_table(parts: Sequence[Part], *, spinning: bool = False) -> Table:
    """One row a part: state, name, address, detail. With `spinning`, parts that start have a moving sign."""
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for part in parts:
        mark, style = _PART_MARKS[part.state]
        sign: RenderableType = Text(mark, style)
        if spinning and part.state == "starting":
            sign = Spinner("dots", style=style)
        row = (Text(clean(part.name)), Text(clean(part.url), "cyan"), Text(clean(part.detail), "dim"))
        table.add_row(sign, *row)
    return table


def failure(error: EngineError) -> Text:
    """What failed, the last lines of its log, and what to do next."""
    from rich.text import Text

    text = Text.assemble(("✗ ", "bold red"), (clean(error.part), "bold"), f" {clean(error.reason)}\n")
    for line in error.log_lines:
        text.append(f"  │ {clean(line)}\n", "dim")
    return text.append(clean(error.next_step))


# -- status


def status_view(status: Status, width: int = 100) -> RenderableType:
    """The tenants as a table that fits `width`, the firing alerts below it, and lines on the stack itself."""
    from rich.console import Group
    from rich.text import Text

    more = [Text(f"… and {status.more} more tenants, all better off", "dim")] if status.more else []
    legend = Text("★ VIP · burn: 1 spends the error budget exactly within its window · left: what remains of it", "dim")
    return Group(_tenants(status.tenants, width), *more, Text(), *_firing(status), *_own(status.stack), legend)


def _tenants(rows: Sequence[TenantStatus], width: int) -> Table:
    """One line a tenant: two SLOs and three indicators fit 100 columns. What the stack has not, has no column."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    headings = [Text(heading) for heading in ("", "\ntenant", "\ntier", *_headings(rows))]
    lines = [_line(row) for row in rows]
    widths = [max(_cell_width(cell) for cell in column) for column in zip(headings, *lines, strict=True)]
    # Names are what can be cut: a number that is cut is another number.
    room = max(SHORTEST_NAME, width - (sum(widths) - widths[1]) - (len(widths) - 1))
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        limit = room if number == 1 else None
        table.add_column(heading, justify="right" if number > 2 else "left", no_wrap=True, max_width=limit)
    for line in lines:
        table.add_row(*line)
    return table


def _cell_width(cell: Text) -> int:
    """Columns that the widest line of a cell takes."""
    from rich.cells import cell_len

    return max(cell_len(line) for line in cell.plain.split("\n"))


def _line(row: TenantStatus) -> list[Text]:
    from rich.text import Text

    mark, style = _MARKS["bad"] if row.firing else ("", "")
    name = Text(clean(row.id)).append(" ★" if row.vip else "", "yellow")
    return [Text(mark, style), name, Text(_cut(clean(row.tier), TIER_WIDTH)), *_cells(row)]


def _headings(rows: Sequence[TenantStatus]) -> Iterator[str]:
    for row in rows[:1]:
        for objective in row.objectives:
            yield f"{_cut(clean(objective.slo), SLO_WIDTH)}\nburn   left"
        for each in row.indicators:
            yield _two_lines(clean(each.indicator), INDICATOR_WIDTH)
        if row.health_score:
            yield "\nhealth"
        if row.cost_30d_usd:
            yield "cost\n30 d"


def _two_lines(name: str, width: int) -> str:
    """A name such as `cache_hit_ratio` as a heading: without its unit, which the values show."""
    words = [word for word in name.split("_") if word not in ("ratio", "pct", "percent")] or [name]
    first, rest = (words[0], " ".join(words[1:])) if len(words) > 1 else ("", words[0])
    return f"{_cut(first, width)}\n{_cut(rest, width)}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cells(row: TenantStatus) -> Iterator[Text]:
    for objective in row.objectives:
        yield _objective(objective)
    for each in row.indicators:
        yield _cell(each.reading, "{:.1f}%" if each.percent else "{:.2f}")
    if row.health_score:
        yield _cell(row.health_score, "{:.0f}")
    if row.cost_30d_usd:
        usd = row.cost_30d_usd.value or 0
        yield _cell(row.cost_30d_usd, "${:.2f}" if usd < 10 else "${:.0f}" if usd < 10_000 else f"${usd / 1000:.0f}k")


_WITHOUT_VALUE = {"no data": "no data", "excluded": "maintenance"}


def _objective(objective: ObjectiveStatus) -> Text:
    """Burn rate and what is left, the latter in a fixed width so that both line up; or why there is none."""
    from rich.text import Text

    if objective.state in _WITHOUT_VALUE:
        return Text(_WITHOUT_VALUE[objective.state], style="dim")
    burn, left = objective.burn_rate_1h, objective.budget_remaining_ratio
    percent = Reading(None if left.value is None else max(-999.0, 100 * left.value), left.level)
    rate = burn.value or 0
    cell = _cell(burn, "{:.1f}" if rate < 100 else "{:.0f}" if rate < 1000 else ">999")
    shown = _cell(percent, "{:.0f}%")
    shown.pad_left(max(1, 7 - len(shown)))
    return cell.append_text(shown)


def _cell(reading: Reading, form: str) -> Text:
    from rich.text import Text

    mark, style = _MARKS[reading.level]
    return Text(NOTHING if reading.value is None else mark + form.format(reading.value), style)


def _firing(status: Status) -> Iterator[Text]:
    """One line an alert, with the tenants that it fires for."""
    from rich.text import Text

    tenants: dict[Firing, list[str]] = {alert: [] for alert in status.stack.firing}
    for row in status.tenants:
        for alert in row.firing:
            tenants.setdefault(alert, []).append(row.id)
    for alert, ids in sorted(tenants.items(), key=lambda item: item[0].alert):
        line = Text.assemble(_MARKS["bad"], " ", (clean(alert.alert), "bold"), f" {clean(alert.severity)}", end="\n")
        yield _one_line(line.append(f": {_listing(ids)}" if ids else ""))
    if not tenants:
        yield Text.assemble(("✓", "green"), " no alerts are firing")


def _own(stack: StackStatus) -> Iterator[Text]:
    from rich.text import Text

    jobs = Text()
    for job in stack.jobs:
        jobs.append(*(("✓ ", "green") if job.up == job.total else ("✗ ", "bold red")))
        jobs.append(clean(job.job)).append(f" {job.up}/{job.total}  " if job.up < job.total else "  ")
    yield jobs if stack.jobs else Text("! nothing is scraped", "yellow")
    match stack.rule_failures_1h.value:
        case None:
            yield Text(f"{NOTHING} no data on rule failures", "dim")
        case 0:
            yield Text.assemble(("✓", "green"), " no rule failed in the last hour")
        case count:
            yield Text.assemble(_MARKS["bad"], f" {count:.0f} rule evaluations failed in the last hour")
    if stack.unlisted:
        yield _one_line(Text.assemble(("!", "yellow"), f" not in the definitions: {_listing(stack.unlisted)}"))


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _listing(ids: Sequence[str]) -> str:
    shown = ", ".join(clean(each) for each in ids[:NAMED_TENANTS])
    return shown if len(ids) <= NAMED_TENANTS else f"{shown} and {len(ids) - NAMED_TENANTS} more"
