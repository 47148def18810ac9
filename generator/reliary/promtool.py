"""The format of `promtool test rules`: input series in its notation, and expressions with what they must give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reliary import names
from reliary.artifacts import File
from reliary.yamltext import to_yaml

ALMOST = Decimal("1e-9")
"""Thirds of an event add up to a little less than one."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """An expression, when it is evaluated, and the samples (labels, value) it must give."""

    expr: str
    at_seconds: int
    samples: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps of a counter: it grows by so much in each, or is not there (None). `reset`: it restarts from 0."""

    steps: int
    growth: Decimal | None
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Test:
    """Series (name and values in promtool's notation) with a sample every `step_seconds`, and what must be seen."""

    name: str
    step_seconds: int
    series: tuple[tuple[str, str], ...]
    expected: tuple[Expectation, ...]


def test_file(
    path: str, about: str, rules: Iterable[str], order: Sequence[str], evaluation_seconds: int, tests: Iterable[Test]
) -> File | None:
    """`tests/<path>.yml` on the rule files of these topics; None without tests.

    promtool evaluates every group at that one interval. `order` names groups that read each other: without it a value
    can be one evaluation old, and at long intervals too old to be found.
    """
    rows = [_row(test) for test in tests]
    if not rows:
        return None
    content = {
        "rule_files": [f"../{names.rule_file(rule)}" for rule in rules],
        "evaluation_interval": names.duration(evaluation_seconds),
        **({"group_eval_order": list(order)} if order else {}),
        "tests": rows,
    }
    return File(f"tests/{path}.yml", to_yaml(content, about))


def constant(value: str, steps: int) -> str:
    """A gauge that does not change."""
    return f"{value}+0x{steps}"


def counter(*stretches: Stretch) -> str:
    """A counter in promtool's notation. One that grows by a fraction of an event stands still in between."""
    parts: list[str] = []
    value = Decimal(0)
    for stretch in stretches:
        begins = stretch.reset or all(part.startswith("_") for part in parts)
        value = Decimal(0) if begins else value
        if stretch.growth is None:
            parts.append(f"_x{stretch.steps}")
            continue
        parts.extend(_growing(value, stretch.growth, stretch.steps, begins))
        value += stretch.growth * (stretch.steps - begins)
    return " ".join(parts)


def _growing(value: Decimal, growth: Decimal, steps: int, begins: bool) -> Iterator[str]:
    """`steps` samples; the first is `value` itself where the counter begins, else one growth later."""
    first = value if begins else value + growth
    if growth == int(growth) and first == int(first):
        yield f"{int(first)}+{int(growth)}x{steps - 1}"
    else:
        yield from (str(int(first + growth * step + ALMOST)) for step in range(steps))


def _row(test: Test) -> dict[str, Any]:
    return {
        "name": test.name,
        "interval": names.duration(test.step_seconds),
        "input_series": [{"series": name, "values": values} for name, values in test.series],
        "promql_expr_test": [_expectation(row) for row in test.expected],
    }


def _expectation(row: Expectation) -> dict[str, Any]:
    samples = [{"labels": labels, "value": value} for labels, value in row.samples]
    return {"expr": row.expr, "eval_time": names.duration(row.at_seconds), "exp_samples": samples}
