"""Rule groups -> the YAML that Prometheus reads."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from reliary.artifacts import Alert, File, Recording, RuleFile, RuleGroup
from reliary.names import duration
from reliary.yamltext import flow, headed, quoted, to_yaml, yaml_body


def rule_file(file: RuleFile) -> File:
    """One file of `rules/`, in the shape of `promtool check rules`."""
    if file.groups and all(_constants(group) for group in file.groups):
        return File(file.path, headed("groups:\n" + "".join(_compact(group) for group in file.groups), file.about))
    return File(file.path, to_yaml({"groups": [_group(group) for group in file.groups]}, file.about))


def _group(group: RuleGroup) -> dict[str, Any]:
    return {
        **_head(group),
        "rules": [_recording(rule) if isinstance(rule, Recording) else _alert(rule) for rule in group.rules],
    }


def _head(group: RuleGroup) -> dict[str, Any]:
    return {"name": group.name, "interval": duration(group.interval_seconds)}


def _recording(rule: Recording) -> dict[str, Any]:
    row: dict[str, Any] = {"record": rule.record, "expr": rule.expr}
    return {**row, "labels": dict(rule.labels)} if rule.labels else row


def _alert(rule: Alert) -> dict[str, Any]:
    row: dict[str, Any] = {"alert": rule.alert, "expr": rule.expr}
    if rule.for_seconds:
        row["for"] = duration(rule.for_seconds)
    if rule.keep_firing_for_seconds:
        row["keep_firing_for"] = duration(rule.keep_firing_for_seconds)
    return {**row, "labels": dict(rule.labels), "annotations": dict(rule.annotations)}


# -- one line a rule


_CONSTANT = re.compile(r"vector\([0-9.]+\)")


def _constants(group: RuleGroup) -> bool:
    """True for facts: each rule gives one number, and there may be one for each tenant."""
    return bool(group.rules) and all(
        isinstance(rule, Recording) and rule.labels and _CONSTANT.fullmatch(rule.expr) for rule in group.rules
    )


def _compact(group: RuleGroup) -> str:
    """An item of `groups` with a line for each rule: a fiftieth of the work that the YAML library would have."""
    lines = "".join([_line(rule) for rule in group.rules if isinstance(rule, Recording)])
    return f"{yaml_body([_head(group)])}  rules:\n{lines}"


def _line(rule: Recording) -> str:
    return f"  - {_named(rule.record, rule.expr)}, labels: {flow(rule.labels)}}}\n"


@lru_cache(maxsize=1000)
def _named(record: str, expr: str) -> str:
    return f"{{record: {quoted(record)}, expr: {quoted(expr)}"
