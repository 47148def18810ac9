"""The stacks that are measured: ordinary definitions, read and compiled as a user's would be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from reliary import compile as compiler
from reliary.artifacts import Alert, RuleFile, RuleGroup, Site
from reliary.definitions.spec import read_definitions
from reliary.model import Stack
from reliary.rulefile import rule_file

COUNTER = "http_requests_total"
BAD = f'{COUNTER}{{code=~"5.."}}'

_STACK = """\
stack: bench
namespace: bench
scrape_interval: {scrape}s
evaluation_interval: {evaluation}s
retention: 100d
services:
  api: {{scrape: [api:8000]}}
tiers:
  standard: {{description: All of them}}
receivers:
  people: {{webhook: 'http://localhost:9/'}}
routes:
  - {{to: people}}
slos:
"""

_SLO = """\
  {name}:
    description: Requests that are answered without a server error
    bad: {bad}
    total: {total}
    objective: {objective}
    window: {window}
    exact: {exact}
    owner: platform
"""


def stack(
    tenants: Sequence[str],
    slos: Sequence[tuple[str, str, str]],
    scrape_seconds: int = 30,
    evaluation_seconds: int = 30,
    exact: Sequence[str] = (),
) -> Stack:
    """Tenants of one tier, and SLOs (name, objective in percent, window) over the same counter.

    Those named by `exact` take windows up to 6h from the raw counters.
    """
    with tempfile.TemporaryDirectory(prefix="reliary-bench-") as scratch:
        folder = Path(scratch)
        text = _STACK.format(scrape=scrape_seconds, evaluation=evaluation_seconds) + "".join(
            _SLO.format(
                name=name,
                objective=objective,
                window=window,
                exact=str(name in exact).lower(),
                bad=BAD,
                total=COUNTER,
            )
            for name, objective, window in slos
        )
        (folder / "stack.yml").write_text(text, encoding="utf-8")
        rows = "".join(f"{tenant},standard\n" for tenant in tenants)
        (folder / "tenants.csv").write_text(f"id,tier\n{rows}", encoding="utf-8")
        reading = read_definitions(folder)
    if reading.stack is None:
        raise RuntimeError("\n".join(str(problem) for problem in reading.problems))
    return reading.stack


def compiled(of: Stack) -> tuple[RuleFile, ...]:
    """Every rule file that is emitted for it."""
    return compiler.rules(of, Site())


def slo_groups(files: Sequence[RuleFile]) -> tuple[RuleGroup, ...]:
    """The groups without those that only have alerts on the stack itself."""
    return tuple(group for file in files for group in file.groups if not _watches_itself(group))


def _watches_itself(group: RuleGroup) -> bool:
    return all(isinstance(rule, Alert) and dict(rule.labels).get("kind") == "platform" for rule in group.rules)


def texts(files: Sequence[RuleFile]) -> list[tuple[str, str]]:
    """(name, YAML) of rule files, as they are emitted."""
    return [(Path(file.path).stem, rule_file(file).text) for file in files]
