"""`reliary diff`: what changed in meaning between two folders of definitions. Like diff(1), its exit status tells."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from reliary.comparing.changes import Change
    from reliary.model import Stack

PAGE_WIDTH = 100
SAME, DIFFERENT, TROUBLE = 0, 1, 2
_STYLES = {
    "stricter": "cyan",
    "louder": "yellow",
    "added": "green",
    "removed": "red",
    "looser": "red",
    "quieter": "red",
}
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def diff(old: Path, new: Path, form: str) -> None:
    """Show what NEW definitions mean otherwise than OLD ones: objectives, alerts, who is told, tenants, sources.

    Text, order and files do not count. Exit status: 0 the same meaning, 1 changes, 2 definitions with problems.
    """
    from reliary.comparing.meaning import changes

    before, after = _stack(old), _stack(new)
    if before is None or after is None:
        sys.exit(TROUBLE)
    found = changes(before, after)
    if form == "json":
        click.echo(json.dumps({"same": not found, "changes": [asdict(change) for change in found]}, indent=2))
    else:
        _show(found)
    sys.exit(DIFFERENT if found else SAME)


def _stack(folder: Path) -> Stack | None:
    """The definitions of a folder, or None and their problems on standard error. Warnings are not what changed."""
    from reliary.definitions.spec import read_definitions
    from reliary.problems import as_text

    reading = read_definitions(folder)
    if reading.stack is None:
        click.echo(as_text(reading.problems), nl=False, err=True)
    return reading.stack


# -- the picture


def _show(changes: Sequence[Change]) -> None:
    from rich.console import Console

    if not changes:
        click.echo("no change in meaning")
        return
    Console(width=None if sys.stdout.isatty() else PAGE_WIDTH).print(changes_view(changes))


def changes_view(changes: Sequence[Change]) -> RenderableType:
    """The changes by kind, what becomes of history below each, and how many there are of each sort."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for kind, group in groupby(changes, key=lambda change: change.kind):
        parts += [Text(kind, "bold"), Padding(_table(list(group)), (0, 0, 1, 2))]
    counts = Counter(change.severity for change in changes)
    number = f"{len(changes):,} change{'' if len(changes) == 1 else 's'} in meaning"
    parts.append(Text(f"{number}: {', '.join(f'{count:,} {word}' for word, count in counts.most_common())}", "dim"))
    return Group(*parts)


def _table(changes: Sequence[Change]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from reliary_stack.view import clean

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3)
    table.expand = True
    for change in changes:
        told = Text(_told(clean(change.before or ""), clean(change.after or "")))
        if change.effect:
            told.append(f"\n{clean(change.effect)}", "dim")
        table.add_row(Text(change.severity, _STYLES.get(change.severity, "")), Text(clean(change.what)), told)
    return table


def _told(before: str, after: str) -> str:
    if before and after:
        return f"{before} → {after}"
    return f"+ {after}" if after else f"- {before}"
