"""Rules as plain values, in the form that Prometheus, its operator, Mimir and Thanos share."""

from __future__ import annotations

from typing import Any

import yaml

from reliary.artifacts import Alert, File, Recording, RuleFile, RuleGroup
from reliary.names import duration

_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def values(file: File) -> Any:
    """What one of our own YAML files says."""
    return yaml.load(file.text, Loader=_Fastest)


def group_values(group: RuleGroup) -> dict[str, Any]:
    """A group as it stands in a rule file."""
    rows = [rule_values(rule) for rule in group.rules]
    return {"name": group.name, "interval": duration(group.interval_seconds), "rules": rows}


def rule_values(rule: Recording | Alert) -> dict[str, Any]:
    """A rule as it stands in a rule file; keys without a value are left out."""
    if isinstance(rule, Recording):
        row: dict[str, Any] = {"record": rule.record, "expr": rule.expr, "labels": dict(rule.labels)}
    else:
        row = {
            "alert": rule.alert,
            "expr": rule.expr,
            "for": duration(rule.for_seconds) if rule.for_seconds else "",
            "keep_firing_for": duration(rule.keep_firing_for_seconds) if rule.keep_firing_for_seconds else "",
            "labels": dict(rule.labels),
            "annotations": dict(rule.annotations),
        }
    return {key: value for key, value in row.items() if value}


def topic(file: RuleFile) -> str:
    """What a rule file is about: `rules/slo-latency.yml` -> `slo-latency`."""
    return file.path.rpartition("/")[2].removesuffix(".yml")
