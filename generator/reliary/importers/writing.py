"""Classes -> the text of definition files, as a person would write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from reliary.artifacts import File
from reliary.importers.classes import Class, Composite
from reliary.importers.found import DAY
from reliary.importers.merging import TENANT_LABEL, value_of
from reliary.names import duration
from reliary.promql import number

SLOS, TENANTS, STACK = "slos.yml", "tenants.yml", "stack.yml"
TIER = "standard"
FILL_IN = ("stack", "services", "tenants", "receivers")
"""What an import cannot know."""

_PLAIN = re.compile(r"[A-Za-z0-9_][^\n]*[^\s:]|[A-Za-z0-9_]")
_FLOW = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+/-]*")
_OTHER_KIND = re.compile(
    r"(?i)true|false|yes|no|on|off|y|n|null|[0-9][0-9_.]*(?:e[+-]?[0-9]+)?|0[xo][0-9a-f]+|[0-9:.-]+"
)


def scalar(value: object) -> str:
    """A value on a line of its own."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return number(value)
    text = str(value)
    plain = _PLAIN.fullmatch(text) and ": " not in text and " #" not in text and not _OTHER_KIND.fullmatch(text)
    return text if plain else _quoted(text)


def flow(value: object) -> str:
    """A value within braces and brackets."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, Decimal | bool):
        return scalar(value)
    text = str(value)
    return text if _FLOW.fullmatch(text) and not _OTHER_KIND.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def definition_files(
    tool: str, classes: Sequence[Class], composites: Sequence[Composite], label: str, skeleton: bool
) -> tuple[File, ...]:
    """The files of an import, `stack.yml` only with `skeleton`; nothing at all without classes."""
    if not classes:
        return ()
    files = [File(SLOS, _slos(tool, classes, composites))]
    if tenants := tenant_ids(classes, label):
        files.append(File(TENANTS, _tenants(classes, tenants)))
    if skeleton:
        files.append(File(STACK, _stack(classes, label, bool(tenants))))
    return tuple(files)


def tenant_ids(classes: Iterable[Class], label: str) -> tuple[str, ...]:
    """The tenants that objectives name, in the order in which they were found."""
    alone = ((one.group.values or (value_of(one.first.source, label),)) for one in classes)
    return tuple(dict.fromkeys(value for values in alone for value in values if value is not None))


def _slos(tool: str, classes: Sequence[Class], composites: Sequence[Composite]) -> str:
    lines = [
        f"# Imported from {tool}; IMPORT.md says what became of each objective and what changed in meaning.",
        "slos:",
    ]
    for one in classes:
        lines += [f"  {one.name}:", *(f"    {line}" for line in _slo(one))]
    if composites:
        lines += ["", "composites:"]
        for composite in composites:
            about = {"description": composite.description} if composite.description else {}
            lines.append(f"  {composite.name}:")
            lines += [f"    {key}: {scalar(value)}" for key, value in about.items()]
            lines.append(f"    of: {flow(list(composite.of))}")
    return "\n".join(lines) + "\n"


def _slo(one: Class) -> list[str]:
    window = one.first.window
    pairs: dict[str, object] = {"description": one.description, **one.keys}
    pairs |= {"objective": one.group.default, "window": window.text, "zone": window.zone, "owner": one.owner}
    lines = [f"{key}: {scalar(value)}" for key, value in pairs.items() if value != ""]
    if isinstance(one.alerts, dict) and "rows" in one.alerts:
        return [*lines, "alerts:", "  rows:", *(f"    - {flow(row)}" for row in one.alerts["rows"])]
    return lines if one.alerts is None else [*lines, f"alerts: {flow(one.alerts)}"]


def _tenants(classes: Sequence[Class], tenants: Sequence[str]) -> str:
    own = {one.name: one.group.own_objectives for one in classes}
    lines = ["# Values of the tenant label that the imported objectives named.", "tenants:"]
    for tenant in tenants:
        objectives = {name: values[tenant] for name, values in own.items() if tenant in values}
        row: dict[str, object] = {"id": tenant, "tier": TIER}
        lines.append(f"  - {flow({**row, 'objectives': objectives} if objectives else row)}")
    return "\n".join(lines) + "\n"


def _stack(classes: Sequence[Class], label: str, tenants: bool) -> str:
    placeholder = "" if tenants else f"\ntenants:\n  - {{id: example, tier: {TIER}}}    # fill in: your customers\n"
    named = f"tenant_label: {label}\n" if label != TENANT_LABEL else ""
    kept = retention(classes)
    return f"""# What an import cannot know. Go through every line that says "fill in"; docs/importing.md explains.
stack: imported                        # fill in: a name for the stack
{named}retention: {kept}                         # reaches past the longest window

services:
  app:                                 # fill in: what serves the metrics that slos.yml counts
    scrape: [app:8080]

tiers:
  {TIER}: {{description: All tenants that were imported}}
{placeholder}
receivers:
  oncall: {{webhook: "http://localhost:9095/alerts"}}    # fill in: who gets alerts

routes:
  - {{to: oncall}}
"""


def retention(classes: Iterable[Class]) -> str:
    """How long data must be kept for the longest window: some days more, 35 at least."""
    reach = {"month": 32, "quarter": 93}
    days = [reach.get(one.first.window.unit) or -(-one.first.window.seconds // DAY) for one in classes]
    return duration(max(35, max(days, default=0) + 5) * DAY)
