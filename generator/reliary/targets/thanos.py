"""The stack for Thanos Ruler: rule files that fail rather than count half, and what the ruler is started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reliary.artifacts import Alert, File, Recording, RuleFile, RuleGroup, Site
from reliary.dependencies import Writers, reads
from reliary.model import Stack
from reliary.names import duration
from reliary.targets import Targeted
from reliary.targets.rules import group_values, topic
from reliary.yamltext import to_yaml


def thanos_files(stack: Stack, site: Site, rules: Sequence[RuleFile]) -> Targeted:
    """Rule files, where alerts go, and a README with the flags and with the rules that read what others scraped."""
    files = [_rule_file(file) for file in rules]
    files.append(_alertmanagers(stack, site))
    files.append(File("thanos/README.md", _readme(stack, rules)))
    return Targeted(tuple(files))


def _rule_file(file: RuleFile) -> File:
    groups = [_strict(group) for group in file.groups]
    return File(f"thanos/rules/{topic(file)}.yml", to_yaml({"groups": groups}, file.about))


def _strict(group: RuleGroup) -> dict[str, Any]:
    """Half of the events would be a wrong budget for a month: when a store does not answer, nothing is recorded."""
    values = group_values(group)
    rules = values.pop("rules")
    return {**values, "partial_response_strategy": "abort", "rules": rules}


def _alertmanagers(stack: Stack, site: Site) -> File:
    where = {"static_configs": [site.alertmanager], "scheme": "http", "api_version": "v2"}
    return File("thanos/alertmanagers.yml", to_yaml({"alertmanagers": [where]}, f"Where alerts of {stack.name} go"))


def remote(rules: Sequence[RuleFile]) -> tuple[tuple[str, str, str], ...]:
    """Rules that read series which no rule records, as (group, name of the rule, series)."""
    writers = Writers([rule for file in rules for group in file.groups for rule in group.rules])
    return tuple(
        (group.name, _name(rule), read.name)
        for file in rules
        for group in file.groups
        for rule in group.rules
        for read in reads(rule.expr)
        if not writers.of(read)
    )


def _name(rule: Recording | Alert) -> str:
    return rule.record if isinstance(rule, Recording) else rule.alert


def _readme(stack: Stack, rules: Sequence[RuleFile]) -> str:
    rows = "\n".join(f"| {group} | `{rule}` | `{series}` |" for group, rule, series in dict.fromkeys(remote(rules)))
    every = sum(len(group.rules) for file in rules for group in file.groups)
    far = len({(group, rule) for group, rule, _ in remote(rules)})
    return f"""# {stack.name} on Thanos Ruler

```
thanos rule \\
  --rule-file='rules/*.yml' \\
  --eval-interval={duration(stack.evaluation_interval_seconds)} \\
  --query=dnssrv+_http._tcp.thanos-query \\
  --alertmanagers.config-file=alertmanagers.yml \\
  --label='stack="{stack.name}"' \\
  --label="replica=\\"$HOSTNAME\\"" \\
  --alert.label-drop=replica \\
  --data-dir=/var/thanos/rule
```

- The Querier needs this ruler among its `--endpoint`s and `--query.replica-label=replica`: rules read what other rules
  have recorded through it, and two replicas must look like one.
- Every group has `partial_response_strategy: abort`. When a store does not answer, the evaluation fails and is counted
  in `prometheus_rule_evaluation_failures_total`; nothing is recorded from half of the events.
- Ranges of a month are read from what the ruler keeps (`--tsdb.retention`) and from object storage: let it upload its
  blocks, or keep them for longer than the longest window.

## Rules that read what was scraped

{far} of {every} rules read series from Prometheus servers or stores; all others read only what this ruler has recorded.
If a store is slow, these are the ones to move next to its data.

| group | rule | reads |
|---|---|---|
{rows}
"""
