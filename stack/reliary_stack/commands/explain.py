"""`reliary explain`: what an SLO means, for a tenant, at a traffic, and what it costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import asdict, is_dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reliary.model import Slo, Stack, Tenant

PAGE_WIDTH = 100
MOST_PER_HOUR = Decimal(10**12)


class _Rate(click.ParamType[Decimal]):
    """A positive number of events an hour."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            rate = Decimal(str(value).replace(",", "").replace("_", ""))
        except InvalidOperation:
            rate = Decimal("NaN")
        if not rate.is_finite() or not Decimal("0.0001") <= rate <= MOST_PER_HOUR:
            self.fail(f"{value} is not a number of requests an hour from 0.0001 on, such as 250", param, ctx)
        return rate


@click.command()
@click.argument("definitions", type=click.Path(path_type=Path, file_okay=False))
@click.argument("slo", required=False)
@click.option("--tenant", metavar="ID", help="For this tenant: its objective, its receivers.")
@click.option("--requests-per-hour", "per_hour", type=_Rate(), help="At this traffic [a table of usual ones].")
@click.option("--prometheus", metavar="URL", help="Read the tenant's traffic from a running Prometheus.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def explain(
    definitions: Path, slo: str | None, tenant: str | None, per_hour: Decimal | None, prometheus: str | None, form: str
) -> None:
    """Say what SLO of DEFINITIONS means: windows, factors, what pages when, who is told, what it costs.

    Without SLO: the list of SLOs and composites.
    """
    from reliary.explaining import explain as meaning
    from reliary_stack import explainview

    stack = _stack(definitions)
    if slo is None:
        if tenant or per_hour or prometheus:
            raise click.UsageError(f"name one SLO to explain: {_names(stack)}.")
        if not stack.slos and form == "text":
            click.echo("these definitions have no SLOs.")
            return
        lines = meaning.overview(stack)
        _show(lines, explainview.overview_view(lines), form)
        return
    who = _tenant(stack, tenant)
    composite = next((each for each in stack.composites if each.name == slo), None)
    if composite is not None:
        found = meaning.explain_composite(stack, composite, who)
        _show(found, explainview.composite_view(found), form)
        return
    chosen = _slo(stack, slo)
    rate = _measured(stack, chosen, who, prometheus) if prometheus and per_hour is None else per_hour
    explained = meaning.explain(stack, chosen, who, rate)
    _show(explained, explainview.explanation_view(explained), form)


def _stack(definitions: Path) -> Stack:
    """The definitions, or their problems on standard error and exit status 1. Warnings are shown and pass."""
    from reliary.definitions.spec import read_definitions
    from reliary.problems import as_text

    reading = read_definitions(definitions)
    if reading.problems:
        click.echo(as_text(reading.problems), nl=False, err=True)
    if reading.stack is None:
        sys.exit(1)
    return reading.stack


def _slo(stack: Stack, name: str) -> Slo:
    for slo in stack.slos:
        if slo.name == name:
            return slo
    known = [slo.name for slo in stack.slos] + [each.name for each in stack.composites]
    raise click.UsageError(f"there is no SLO {_shown(name)}. {_nearest(name, known) or f'There are: {_names(stack)}.'}")


def _tenant(stack: Stack, id_: str | None) -> Tenant | None:
    if id_ is None:
        return None
    for tenant in stack.tenants:
        if tenant.id == id_:
            return tenant
    advice = _nearest(id_, [tenant.id for tenant in stack.tenants])
    unlisted = "Without --tenant you see what holds for tenants in no list."
    raise click.UsageError(f"there is no tenant {_shown(id_)} in the definitions. {advice or unlisted}")


def _names(stack: Stack) -> str:
    return ", ".join([slo.name for slo in stack.slos] + [each.name for each in stack.composites]) or "none"


def _nearest(word: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word[:100], list(known), n=3)
    return f"Did you mean {' or '.join(found)}?" if found else ""


def _shown(text: str) -> str:
    from reliary.problems import visible

    return visible(text, 80)


def _measured(stack: Stack, slo: Slo, tenant: Tenant | None, url: str) -> Decimal:
    """The tenant's events an hour, of the last five minutes."""
    from reliary import names
    from reliary.promql import series
    from reliary_exporter.prometheus import PrometheusClient, PrometheusError

    if tenant is None:
        raise click.UsageError("--prometheus reads the traffic of one tenant: name it with --tenant.")
    which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, tenant.id))
    client = PrometheusClient(url)
    try:
        samples = client.instant(f"{series(names.SLO_TOTAL_RATE, *which)} * 3600")
    except PrometheusError as error:
        raise click.ClickException(f"{error}. Give the traffic with --requests-per-hour.") from None
    finally:
        client.close()
    if not samples or samples[0].value <= 0:
        raise click.ClickException(f"{tenant.id} has no traffic now. Give it with --requests-per-hour.")
    return max(Decimal("0.0001"), Decimal(f"{samples[0].value:.4g}"))


def _show(found: Any, view: RenderableType, form: str) -> None:
    if form == "json":
        plain = asdict(found) if is_dataclass(found) and not isinstance(found, type) else [asdict(one) for one in found]
        click.echo(json.dumps(plain, indent=2, default=float))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PAGE_WIDTH).print(view)
