"""`reliary import`: objectives of another tool become definitions, with a report. Nothing is overwritten unasked."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from reliary.artifacts import File
    from reliary.importers.importing import Outcome, Tool
    from reliary.problems import Problem


@click.command(name="import")
@click.argument("tool", type=click.Choice(["sloth", "openslo", "pyrra"]))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the definitions.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How the report is shown.")
@click.option("--tenant-label", help="Label that holds the tenant; what the files differ in, or tenant_id.")
@click.option("--merge/--no-merge", default=None, help="Make one class of objectives that differ in one label only.")
@click.option("--window", "period", help="Sloth's --default-slo-period, if it was not 30d.")
@click.option("--skeleton/--no-skeleton", default=None, help="Also write a stack.yml to fill in [if there is none].")
@click.option("--force", is_flag=True, help="Replace files of an earlier import.")
def import_(
    tool: str,
    files: tuple[Path, ...],
    output: Path | None,
    form: str,
    tenant_label: str | None,
    merge: bool | None,
    period: str | None,
    skeleton: bool | None,
    force: bool,
) -> None:
    """Turn FILES of TOOL into definitions and say what changes in meaning. Without -o nothing is written.

    Exit status: 0 all imported, 1 something was refused (the rest is written), 2 wrong usage.
    """
    from reliary.importers.importing import Options, import_objectives
    from reliary.importers.report import to_json, to_text

    _check_label(tenant_label)
    wanted = _skeleton_wanted(output) if skeleton is None else skeleton
    options = Options(tenant_label, merge, _period(tool, period), wanted)
    outcome = import_objectives(cast("Tool", tool), [(path.as_posix(), _read(path)) for path in files], options)
    faults = _written(outcome, output, wanted, force)
    if form == "json":
        click.echo(to_json(outcome.report, outcome.files), nl=False)
    else:
        click.echo(to_text(outcome.report), nl=False)
        _tell(outcome, output, faults)
    sys.exit(int(bool(outcome.report.problems or faults or not outcome.report.classes)))


def _read(path: Path) -> bytes:
    """The bytes of a file, a few more than can be read at most."""
    from reliary.definitions.source import MAX_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _check_label(label: str | None) -> None:
    import re

    from reliary.definitions.schema import LABEL_NAME

    if label is not None and not re.fullmatch(LABEL_NAME.pattern, label):
        raise click.BadParameter(f"{label} is not the name of a label", param_hint="--tenant-label")


def _period(tool: str, text: str | None) -> int | None:
    from reliary.importers.found import LONGEST_SECONDS, SHORTEST_SECONDS, seconds_of

    if text is None:
        return None
    if tool != "sloth":
        raise click.BadParameter("only Sloth's files leave the window open", param_hint="--window")
    span = seconds_of(text)
    if span is None or not SHORTEST_SECONDS <= span <= LONGEST_SECONDS:
        raise click.BadParameter(f"{text} is not a window from 7d to 90d, such as 28d", param_hint="--window")
    return span


# -- writing


def _skeleton_wanted(output: Path | None) -> bool:
    """True unless the folder has definitions beside those that an import writes."""
    from reliary.importers.writing import SLOS, TENANTS

    if output is None or not output.is_dir():
        return True
    return not any(path.suffix in (".yml", ".yaml") and path.name not in (SLOS, TENANTS) for path in output.iterdir())


def _written(outcome: Outcome, output: Path | None, whole: bool, force: bool) -> list[Problem]:
    """Writes the files, all or none, and gives what the reader says of them where they are a whole stack."""
    if output is None or not outcome.report.classes:
        return []
    there = [file.path for file in outcome.files if (output / file.path).exists()]
    if there and not force:
        message = f"{output} has {', '.join(there)} already: choose another folder with -o, or --force."
        raise click.UsageError(message)
    try:
        return _exchange(outcome.files, output, whole)
    except OSError as error:
        raise click.ClickException(
            f"{output} was not written: {error.strerror}. What was there is unchanged."
        ) from None


def _exchange(files: Sequence[File], output: Path, whole: bool) -> list[Problem]:
    """Stages the files beside the folder, then puts them in; if one cannot be, those before it are put back."""
    from reliary.definitions.spec import read_definitions

    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        for file in files:
            (staged / file.path).write_text(file.text, encoding="utf-8", newline="\n")
        faults = list(read_definitions(staged).problems) if whole else []
        staged.chmod(0o755)
        if output.exists():
            _replace(staged, output, [file.path for file in files])
        else:
            staged.rename(output)
        return [_placed(fault, staged, output) for fault in faults]
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _replace(staged: Path, output: Path, names: Sequence[str]) -> None:
    kept = staged / ".old"
    kept.mkdir()
    done: list[str] = []
    try:
        for name in names:
            if (output / name).exists():
                shutil.copy2(output / name, kept / name)
            (staged / name).replace(output / name)
            done.append(name)
    except OSError:
        for name in done:
            old = kept / name
            old.replace(output / name) if old.exists() else (output / name).unlink()
        raise


def _placed(fault: Problem, staged: Path, output: Path) -> Problem:
    """The problem with the place where the file stands now."""
    from dataclasses import replace

    file = fault.place.file.replace(staged.as_posix(), output.as_posix())
    return replace(fault, place=replace(fault.place, file=file))


def _tell(outcome: Outcome, output: Path | None, faults: Sequence[Problem]) -> None:
    from reliary.problems import as_text

    if not outcome.report.classes:
        click.echo("nothing was written: there is nothing that could be imported.", err=True)
    elif output is None:
        click.echo("nothing was written: give a folder with -o.", err=True)
    else:
        click.echo(f"{output}: {', '.join(file.path for file in outcome.files)}. Read IMPORT.md first.")
    if faults:
        click.echo(as_text(faults), nl=False, err=True)
