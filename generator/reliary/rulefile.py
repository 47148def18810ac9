"""Rule groups -> the YAML that Prometheus reads."""

from __future__ import annotations

from typing import Any

from reliary.artifacts import Alert, File, Recording, RuleFile, RuleGroup
from reliary.names import duration
from reliary.yamltext import to_yaml


def rule_file(file: RuleFile) -> File:
    """One file of `rules/`, in the shape of `promtool check rules`."""
    return File(file.path, to_yaml({"groups": [_group(group) for group in file.groups]}, file.about))


def _group(group: RuleGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "interval": duration(group.interval_seconds),
        "rules": [_recording(rule) if isinstance(rule, Recording) else _alert(rule) for rule in group.rules],
    }


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
