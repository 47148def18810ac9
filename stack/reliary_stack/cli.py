"""The commands. Each one reads its arguments, calls one function and prints; what takes long to import, it imports."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reliary_stack.commands.backfill import backfill
from reliary_stack.commands.diff import diff
from reliary_stack.commands.explain import explain
from reliary_stack.commands.importing import import_

if TYPE_CHECKING:
    from reliary.artifacts import File
    from reliary.definitions.spec import Reading
    from reliary.model import Stack
    from reliary.problems import Problem
    from reliary.targets import Target
    from reliary_stack.engines.engine import Engine

DEFINITIONS = click.argument("definitions", type=click.Path(path_type=Path, file_okay=False))
FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", help="How problems are shown."
)
STATE = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="Folder of the running stack [.reliary/<name>]."
)
ENGINE = click.option(
    "--engine", type=click.Choice(["auto", "docker", "local"]), default="auto", help="Where the stack runs."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="reliary", message="reliary %(version)s")
def cli() -> None:
    """Turn a folder of definitions into a proven monitoring stack, and run it.

    \b
    reliary check examples/aether      find every problem, run every proof
    reliary compile examples/aether    write the stack's files to build/
    reliary up examples/aether         start it and wait until it is healthy
    reliary status examples/aether     how every tenant is doing
    """


@cli.command(name="compile")
@DEFINITIONS
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build"), show_default=True
)
@click.option(
    "--target",
    type=click.Choice(["prometheus", "operator", "mimir", "thanos"]),
    default="prometheus",
    show_default=True,
    help="What else shall run the rules; adds a folder to the build.",
)
@FORMAT
def compile_(definitions: Path, output: Path, target: Target, form: str) -> None:
    """Write the stack that DEFINITIONS describe. The same definitions give the same bytes."""
    from reliary.artifacts import Site
    from reliary.compile import compile_stack
    from reliary.emit import NotABuild, write_build

    reading = _reading(definitions)
    files, problems = _for_target(reading, target)
    _stop_on(form, *reading.problems, *problems)
    files = (*compile_stack(_stack(reading), Site(), reading.digest), *files)
    try:
        write_build(files, reading.digest, output)
    except NotABuild as error:
        raise click.UsageError(f"{error}: choose another folder with -o, or empty it.") from None
    except OSError as error:
        raise click.ClickException(
            f"{output} was not written: {error.strerror}. What was there is unchanged."
        ) from None
    if form == "text":
        click.echo(f"{output}: {len(files) + 1} files, release {reading.digest[:12]}")


@cli.command()
@DEFINITIONS
@FORMAT
def check(definitions: Path, form: str) -> None:
    """Find every problem of DEFINITIONS, then let promtool and amtool prove what comes out of them.

    Exit status: 0 clean, 1 problems or checks that were not run, 2 wrong usage.
    """
    from reliary.problems import exit_code, ordered

    reading = _reading(definitions)
    problems = list(reading.problems)
    if reading.stack is not None:
        problems += _proofs(reading.stack, reading.digest, form)
    _show(ordered(problems), form)
    if form == "text" and not problems:
        click.echo("no problems")
    sys.exit(exit_code(problems))


@cli.command()
@DEFINITIONS
@ENGINE
@STATE
@click.option("--history/--no-history", default=True, show_default=True, help="Give a demo stack a past of a month.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def up(definitions: Path, engine: str, state: Path | None, history: bool, form: str) -> None:
    """Start the stack, wait until all of it is healthy, and show where it is and how the tenants are doing."""
    from reliary_stack import operate

    reading = _read(definitions, "text")
    sys.exit(operate.up(_stack(reading), reading.digest, definitions, _engine(engine, state, reading), history, form))


@cli.command()
@DEFINITIONS
@ENGINE
@STATE
@click.option("--tenant", "tenants", multiple=True, help="Only this tenant; may be given again.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def status(definitions: Path, engine: str, state: Path | None, tenants: tuple[str, ...], form: str) -> None:
    """Show every tenant's objectives, indicators, health, cost and firing alerts."""
    from reliary_stack import operate

    reading = _read(definitions, "text")
    sys.exit(operate.status(_stack(reading), _engine(engine, state, reading), tenants, form))


@cli.command()
@DEFINITIONS
@ENGINE
@STATE
@click.option("--remove-data", is_flag=True, help="Also delete the recorded metrics.")
def down(definitions: Path, engine: str, state: Path | None, remove_data: bool) -> None:
    """Stop the stack. What it recorded is kept, unless you say otherwise."""
    from reliary_stack import operate

    operate.down(_engine(engine, state, _read(definitions, "text")), remove_data)


@cli.command()
def tools() -> None:
    """Fetch Prometheus, Alertmanager and their tools from Debian's packages into a cache of ours."""
    from reliary_stack.binaries import TOOLS, ToolMissing, find_tool

    for name in TOOLS:
        try:
            click.echo(f"{name:18} {find_tool(name).path}")
        except ToolMissing as error:
            raise click.ClickException(str(error)) from None


@cli.command()
def schema() -> None:
    """Print the JSON Schema of definition files, for editors."""
    import json

    from reliary.definitions.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@cli.command(name="exporter")
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--listen", default="127.0.0.1:9808", show_default=True, metavar="HOST:PORT")
def exporter_(config: Path, listen: str) -> None:
    """Run the sidecar exporter on the exporter.json of a build."""
    import logging

    from reliary.exporterfile import ExporterFileError
    from reliary_exporter.app import serve

    gc.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(config, _address(listen))
    except (ExporterFileError, OSError) as error:
        raise click.ClickException(str(error)) from None


@cli.group()
def demo() -> None:
    """The demo workload: a real service with tenants, traffic and faults that you can switch on."""


@demo.command(name="serve")
@DEFINITIONS
@click.option("--listen", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT")
def demo_serve(definitions: Path, listen: str) -> None:
    """Serve the workload that the definitions' `demo` describes."""
    from reliary_stack.demo import service as workload
    from reliary_stack.demo.history import demo_tenants

    gc.enable()
    stack = _stack(_read(definitions, "text"))
    if stack.demo is None:
        raise click.UsageError("these definitions have no `demo`.")
    try:
        workload.serve(demo_tenants(stack), _address(listen), seed=stack.demo.seed)
    except OSError as error:
        raise click.ClickException(f"{listen}: {error.strerror}") from None


@demo.command(name="fault")
@click.argument("tenant")
@click.argument("fault")
@click.option("--seconds", type=click.IntRange(min=1), help="Switch it off again after so long.")
@click.option("--off", is_flag=True, help="Switch it off.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the workload is.")
def demo_fault(tenant: str, fault: str, seconds: int | None, off: bool, url: str) -> None:
    """Switch a fault on for TENANT, or for `all`.

    Faults: quality_drop, cache_collapse, outage, no_traffic, one_bad_request, slow, cost_spike.
    """
    from reliary_stack import operate

    click.echo(operate.fault(url, tenant, fault, seconds, off))


for command in (explain, diff, import_, backfill):
    cli.add_command(command)


# -- what the commands share


def _reading(definitions: Path) -> Reading:
    from reliary import kept
    from reliary.definitions.spec import read_definitions

    kept.use(kept.folder_of(os.environ))
    return read_definitions(definitions)


def _read(definitions: Path, form: str) -> Reading:
    """The definitions, or their problems on the terminal and exit status 1. Warnings are shown and pass."""
    reading = _reading(definitions)
    _stop_on(form, *reading.problems)
    return reading


def _stop_on(form: str, *problems: Problem) -> None:
    """Shows problems; errors end the command."""
    from reliary.problems import exit_code

    _show(problems, form)
    if exit_code(problems):
        sys.exit(1)


def _for_target(reading: Reading, target: Target) -> tuple[tuple[File, ...], tuple[Problem, ...]]:
    """What other systems need beside the build, and what they cannot do; nothing for Prometheus itself."""
    if reading.stack is None or target == "prometheus":
        return (), ()
    from reliary.artifacts import Site
    from reliary.compile import rules
    from reliary.targets import target_files

    more = target_files(target, reading.stack, Site(), reading.digest, rules(reading.stack, Site()))
    return more.files, more.problems


def _stack(reading: Reading) -> Stack:
    assert reading.stack is not None
    return reading.stack


def _show(problems: Iterable[Problem], form: str) -> None:
    """Machines read standard output, people are told on standard error."""
    from reliary.problems import as_github, as_json, as_text

    problems = tuple(problems)
    if form == "json":
        click.echo(as_json(problems), nl=False)
    elif problems:
        click.echo({"text": as_text, "github": as_github}[form](problems), nl=False, err=form == "text")


def _proofs(stack: Stack, release: str, form: str) -> list[Problem]:
    """The problems that the real tools find in what the stack compiles to; a line for each check as it ends."""
    import tempfile

    from reliary.artifacts import Site
    from reliary.compile import compile_stack
    from reliary.emit import write_build
    from reliary_stack.verify import unproven, verify

    problems: list[Problem] = list(unproven(stack))
    with tempfile.TemporaryDirectory(prefix="reliary-check-") as folder:
        build = Path(folder) / "build"
        write_build(compile_stack(stack, Site(), release), release, build)
        for verdict in verify(build):
            problems += verdict.problems
            if form == "text":
                outcome = verdict.problems[0].severity if verdict.problems else "pass"
                click.echo(f"{verdict.check.name:24} {outcome}")
    return problems


def _engine(name: str, state: Path | None, reading: Reading) -> Engine:
    from reliary_stack import operate

    return operate.choose_engine(name, state or Path(".reliary") / _stack(reading).name)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{listen} is not HOST:PORT", param_hint="--listen")
    return host, int(port)
