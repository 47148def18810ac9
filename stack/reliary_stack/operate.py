"""What `reliary up`, `status`, `down` and `demo fault` do: an engine, a picture of it, and an exit status."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from reliary.model import Stack
from reliary_exporter.prometheus import PrometheusError
from reliary_stack.engines.engine import Engine, EngineError, Part, Running

if TYPE_CHECKING:
    from rich.console import Console

    from reliary_stack.status import Status

PAGE_WIDTH = 100
FIRST_VALUES_SECONDS = 150
"""How long `up` waits for a first table: four scrapes for a rate, two evaluations, and some patience."""


def choose_engine(name: str, state: Path) -> Engine:
    """The engine of that name. `auto`: the one that runs the stack already, else Docker where an engine answers."""
    from reliary_stack.engines.docker import DockerEngine, available
    from reliary_stack.engines.local import LocalEngine

    local, docker = LocalEngine(state), DockerEngine(state)
    if name != "auto":
        return docker if name == "docker" else local
    if local.parts():
        return local
    return docker if docker.state_file.exists() or available() else local


def up(stack: Stack, release: str, definitions: Path, engine: Engine, history: bool, form: str) -> int:
    """Starts the stack and shows its addresses and first values. Exit status: 0 when all is healthy, else 1."""
    from reliary_stack import view

    console = _console()
    _warn_of_secrets(stack, definitions, console)
    try:
        with view.progress(console) as report:
            running = engine.up(stack, definitions, report, release=release, history=history)
    except EngineError as error:
        console.print(view.failure(error))
        return 1
    status = _first_status(stack, running, console)
    if form == "json":
        click.echo(_json(running.parts, status))
    else:
        _show(running.parts, status)
        _hint(stack, definitions, running)
    return 0


def status(stack: Stack, engine: Engine, tenants: tuple[str, ...], form: str) -> int:
    """Shows the running stack. Exit status: 0 when it runs, 1 when it does not or Prometheus does not answer."""
    from reliary_stack import view
    from reliary_stack.status import read_status

    unknown = set(tenants) - {tenant.id for tenant in stack.tenants}
    if unknown:
        raise click.UsageError(f"there is no tenant {', '.join(sorted(unknown))} in the definitions.")
    try:
        parts = engine.parts()
        url = next((part.url for part in parts if part.name == "prometheus"), None)
        if url is None:
            raise click.ClickException("the stack is not running here. `reliary up` starts it.")
        now = read_status(stack, url, only=tenants)
    except EngineError as error:
        _console().print(view.failure(error))
        return 1
    except PrometheusError as error:
        raise click.ClickException(f"Prometheus does not answer: {error}") from None
    if form == "json":
        click.echo(_json(parts, now))
    else:
        _show(parts, now)
    return 0 if all(part.state == "healthy" for part in parts) else 1


def down(engine: Engine, remove_data: bool) -> None:
    """Stops the stack and says what was stopped. Raises ClickException when that fails."""
    from reliary_stack import view

    console = _console()
    try:
        with view.progress(console) as report:
            stopped = engine.down(report, remove_data=remove_data)
    except EngineError as error:
        console.print(view.failure(error))
        raise click.exceptions.Exit(1) from None
    click.echo(f"stopped {', '.join(part.name for part in stopped)}" if stopped else "nothing was running")


def fault(url: str, tenant: str, name: str, seconds: int | None, off: bool) -> str:
    """Switches a fault of the demo workload on or off, and says what is on now. Raises ClickException."""
    import requests

    address = f"{url.rstrip('/')}/faults/{quote(tenant, safe='')}/{quote(name, safe='')}"
    try:
        call: Callable[..., requests.Response] = requests.delete if off else requests.put
        answer = call(address, params={"seconds": seconds} if seconds else {}, timeout=5)
        body = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise click.ClickException(f"no demo workload answers at {url}: {error}") from None
    if not answer.ok:
        raise click.ClickException(f"{body.get('error')}. {body.get('next_step', '')}")
    return json.dumps(body, indent=2)


# -- pictures


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _show(parts: tuple[Part, ...], now: Status | None) -> None:
    from rich.console import Console

    from reliary_stack import view

    console = Console(width=None if sys.stdout.isatty() else PAGE_WIDTH)
    console.print(view.parts_table(parts))
    if now is not None:
        console.print()
        console.print(view.status_view(now, console.width))
        if stack_is_young(now):
            console.print("[dim]30-day values and cost follow within a few minutes[/]")


def _json(parts: tuple[Part, ...], now: Status | None) -> str:
    from dataclasses import asdict

    from reliary_stack.status import as_json

    rows = [asdict(part) for part in parts]
    return json.dumps({"parts": rows, "status": as_json(now) if now else None}, indent=2, ensure_ascii=False)


def _first_status(stack: Stack, running: Running, console: Console) -> Status | None:
    """The first table in which every indicator of some tenant has a value; what there is when that takes too long."""
    from reliary_stack.status import read_status

    deadline = time.monotonic() + FIRST_VALUES_SECONDS
    now: Status | None = None
    with console.status("waiting for the first values: rates need a few scrapes"):
        while time.monotonic() < deadline:
            try:
                now = read_status(stack, running.prometheus_url)
            except PrometheusError:
                now = None
            if now is not None and _has_values(now):
                break
            time.sleep(1)
    return now


def _has_values(now: Status) -> bool:
    return any(
        all(each.reading.value is not None for each in row.indicators)
        and all(objective.burn_rate_1h.value is not None for objective in row.objectives)
        for row in now.tenants
    )


def stack_is_young(now: Status) -> bool:
    """True while what is computed every two minutes has not been computed yet."""
    return any(objective.budget_remaining_ratio.value is None for row in now.tenants for objective in row.objectives)


def _hint(stack: Stack, definitions: Path, running: Running) -> None:
    demo = next((part.url for part in running.parts if part.name == "demo"), None)
    if demo and stack.vips:
        port = "" if demo.endswith(":8000") else f" --url {demo}"
        click.echo(f"\nTry a fault:  reliary demo fault {stack.vips[0].id} cache_collapse{port}")
    click.echo(f"Look again:   reliary status {definitions}\nStop it:      reliary down {definitions}")


def _warn_of_secrets(stack: Stack, definitions: Path, console: Console) -> None:
    """Alertmanager starts without its secrets and fails when it has to send: better to hear of it now."""
    missing = {
        name: receiver.name
        for receiver in stack.receivers
        for channel in receiver.channels
        for name in _secrets(channel)
        if not (definitions / "secrets" / name).is_file()
    }
    for name, receiver in missing.items():
        console.print(
            f"note: {receiver} cannot be reached until its secret is in {definitions}/secrets/{name}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _secrets(channel: object) -> tuple[str, ...]:
    named = (getattr(channel, key, None) for key in ("routing_key_file", "url_file"))
    return tuple(name for name in named if name)
