"""`reliary backfill`: a past for recorded series, so that a new SLO has a budget on its first day."""

from __future__ import annotations

import json
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reliary.backfill import Plan
    from reliary.model import Stack
    from reliary_stack.backfill import Span


def _instant(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Unix seconds, from seconds or from a date and time of RFC 3339."""
    if value is None or value.isdigit():
        return int(value) if value else None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither Unix seconds nor a time such as 2026-11-21T14:00:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


@click.command()
@click.argument("definitions", type=click.Path(path_type=Path, file_okay=False))
@click.option("--slo", help="Only this SLO or composite, and what it is made of; all unless said.")
@click.option("--history", is_flag=True, help="Also what only graphs need: burn rates and budgets of the past.")
@click.option("--url", default="http://127.0.0.1:9090", show_default=True, help="The Prometheus that has the samples.")
@click.option("--start", metavar="TIME", callback=_instant, help="Where to begin [as far back as rules look].")
@click.option("--end", metavar="TIME", callback=_instant, help="Where to end [where Prometheus's open block begins].")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("backfill"),
    show_default=True,
    help="Folder for rule files and new blocks.",
)
@click.option("--run", "run_it", is_flag=True, help="Do it, not only print how.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Prometheus's data folder: blocks are moved into it. Without it, you move them.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How the plan is shown.")
def backfill(
    definitions: Path,
    slo: str | None,
    history: bool,
    url: str,
    start: int | None,
    end: int | None,
    output: Path,
    run_it: bool,
    data_dir: Path | None,
    form: str,
) -> None:
    """Give the recorded series of DEFINITIONS a past, from what Prometheus has scraped.

    Without --run, the plan is printed and its rule files are written: stages in order, each of which needs the blocks
    of those before it. With --run it is carried out; that is safe to repeat.
    """
    from reliary.artifacts import Site
    from reliary.backfill import plan
    from reliary.compile import rules

    if data_dir and not run_it:
        raise click.UsageError("--data-dir goes with --run.")
    stack = _stack(definitions)
    known = [*(each.name for each in stack.slos), *(each.name for each in stack.composites)]
    if slo is not None and slo not in known:
        raise click.UsageError(f"there is no SLO {slo!r} in {definitions}, only {', '.join(known) or 'none'}.")
    found = plan(rules(stack, Site()), slo, history=history)
    if not found.stages:
        raise click.ClickException("no rule of these definitions looks back: there is nothing to fill in.")
    if run_it:
        _run(found, url, start, end, output, data_dir)
    else:
        _print(found, stack, url, start, end, output, form)


def _stack(definitions: Path) -> Stack:
    from reliary.definitions.spec import read_definitions
    from reliary.problems import as_text

    reading = read_definitions(definitions)
    if reading.problems:
        click.echo(as_text(reading.problems), nl=False, err=True)
    if reading.stack is None:
        raise click.exceptions.Exit(1)
    return reading.stack


def _run(plan: Plan, url: str, start: int | None, end: int | None, output: Path, data: Path | None) -> None:
    from reliary_stack.backfill import BackfillError, Run, check, execute, instant, span_of
    from reliary_stack.binaries import ToolMissing, find_tool

    try:
        promtool = find_tool("promtool")
        span = span_of(plan, url, start, end, time.time())
        run = Run(url, span, output, promtool, data, lambda text: click.echo(text, err=True))
        check(plan, run)
        click.echo(f"{len(plan.stages)} stages, {span}", err=True)
        finished = execute(plan, run)
    except (BackfillError, ToolMissing, OSError) as error:
        raise click.ClickException(str(error)) from None
    if finished:
        click.echo(
            f"filled in up to {instant(span.end)}. What Prometheus has scraped since is in its open block; three hours "
            f"from now, fill it with the same command and --start {instant(span.end)}."
        )


def _print(plan: Plan, stack: Stack, url: str, start: int | None, end: int | None, output: Path, form: str) -> None:
    from reliary_stack.backfill import Span, write_file

    last = int(time.time()) - 3 * 3600 if end is None else end
    span = Span(last - plan.back_seconds if start is None else start, last)
    if span.start >= span.end:
        raise click.UsageError("--start is not before --end.")
    try:
        for stage in plan.stages:
            write_file(output, stage.file())
    except OSError as error:
        raise click.ClickException(f"{output} was not written: {error.strerror}.") from None
    commands = _commands(plan, stack, url, span)
    click.echo(_as_json(plan, commands, span, output) if form == "json" else _as_text(plan, commands, span, output))


def _commands(plan: Plan, stack: Stack, url: str, span: Span) -> list[list[str]]:
    from reliary.backfill import block_seconds
    from reliary_stack.backfill import command

    tenants = max(1, len(stack.tenants))
    return [
        command(url, span, block_seconds(tenants, min(interval for _, interval in stage.rules)))
        for stage in plan.stages
    ]


def _as_json(plan: Plan, commands: list[list[str]], span: Span, output: Path) -> str:
    stages = [
        {
            "stage": stage.number,
            "folder": str(output / f"stage-{stage.number}"),
            "command": words,
            "reads": list(stage.reads),
            "writes": [{"record": rule.record, "interval_seconds": interval} for rule, interval in stage.rules],
        }
        for stage, words in zip(plan.stages, commands, strict=True)
    ]
    left_out = [{"rule": name, "reason": reason} for name, reason in plan.left_out]
    content = {
        "start": span.start,
        "end": span.end,
        "scraped": sorted({read.selector for read in plan.raw}),
        "stages": stages,
        "left_out": left_out,
    }
    return json.dumps(content, indent=2)


def _as_text(plan: Plan, commands: list[list[str]], span: Span, output: Path) -> str:
    from reliary.names import duration

    lines = [f"# {span}, from {', '.join(read.selector for read in plan.raw)}"]
    for stage, words in zip(plan.stages, commands, strict=True):
        lines.append(f"\n# stage {stage.number} of {len(plan.stages)}")
        lines += [f"#   {rule.record}, every {duration(interval)}" for rule, interval in stage.rules]
        lines.append(f"(cd {shlex.quote(str(output / f'stage-{stage.number}'))} && {shlex.join(words)})")
        lines.append(f"mv {shlex.quote(str(output / f'stage-{stage.number}/blocks'))}/* DATA/")
        lines.append(
            "# DATA is Prometheus's --storage.tsdb.path. It sees new blocks within a minute or two; then go on."
        )
    lines.append("\n# No past is given to:")
    for reason in dict.fromkeys(reason for _, reason in plan.left_out):
        lines += [f"#   {name}" for name, why in plan.left_out if why == reason] + [f"#     ({reason})"]
    lines.append("\n# With --run, all of this is done for you.")
    return "\n".join(lines)
