"""The stack for Grafana Mimir: rule files as `mimirtool` loads them, within Mimir's limits, and a configuration for
its Alertmanager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from reliary.artifacts import Alert, File, RuleFile, RuleGroup, Site
from reliary.dependencies import reads
from reliary.model import Stack
from reliary.problems import Place, Problem, Severity
from reliary.routes import alertmanager_file
from reliary.targets import Targeted
from reliary.targets.folding import folded
from reliary.targets.rules import group_values, topic, values
from reliary.targets.splitting import split
from reliary.yamltext import to_yaml

RULES_A_GROUP = 20
GROUPS_A_TENANT = 70
"""What Mimir takes by default: `ruler_max_rules_per_rule_group`, `ruler_max_rule_groups_per_tenant`."""


def mimir_files(stack: Stack, site: Site, rules: Sequence[RuleFile]) -> Targeted:
    """A namespace for each rule file, with groups of at most 20 rules; or problems that name the limit to raise."""
    fitted = [replace(file, groups=tuple(_fitted(file.groups))) for file in rules]
    routing, secrets = _alertmanager(stack, site)
    files = [_rule_file(stack, file) for file in fitted]
    files += [routing, File("mimir/README.md", _readme(stack, fitted, secrets))]
    return Targeted(tuple(files), (*_limits(fitted), *_blind(fitted)))


def namespace(stack: Stack, file: RuleFile) -> str:
    """The namespace of a rule file: stacks of one Mimir tenant keep apart."""
    return f"{stack.name}-{topic(file)}"


def _fitted(groups: Sequence[RuleGroup]) -> Iterator[RuleGroup]:
    for group in groups:
        small = group if len(group.rules) <= RULES_A_GROUP else replace(group, rules=folded(group.rules))
        yield from split(small, RULES_A_GROUP)


def _rule_file(stack: Stack, file: RuleFile) -> File:
    value = {"namespace": namespace(stack, file), "groups": [group_values(group) for group in file.groups]}
    return File(f"mimir/rules/{topic(file)}.yml", to_yaml(value, file.about))


# -- problems


def _limits(files: Sequence[RuleFile]) -> Iterator[Problem]:
    """Warnings, because we cannot see what is set: with a raised limit the files are right as they are."""
    groups = [group for file in files for group in file.groups]
    largest = max(groups, key=lambda group: len(group.rules), default=None)
    if largest and len(largest.rules) > RULES_A_GROUP:
        yield Problem(
            "B611",
            f"the group `{largest.name}` has {len(largest.rules)} rules, which read each other's newest values; "
            f"Mimir takes {RULES_A_GROUP} in a group unless told otherwise.",
            f"Set `ruler_max_rules_per_rule_group: {len(largest.rules)}` for the Mimir tenant, or switch off tiers of "
            "alerting that nobody needs.",
            Place("mimir/rules"),
            Severity.WARNING,
        )
    if len(groups) > GROUPS_A_TENANT:
        yield Problem(
            "B612",
            f"there are {len(groups)} rule groups; Mimir takes {GROUPS_A_TENANT} for one tenant of it unless told "
            f"otherwise. Most are in {_most(files)}.",
            f"Set `ruler_max_rule_groups_per_tenant: {len(groups)}` for the Mimir tenant, or divide the definitions "
            "among several.",
            Place("mimir/rules"),
            Severity.WARNING,
        )


def _most(files: Sequence[RuleFile]) -> str:
    file = max(files, key=lambda file: len(file.groups))
    return f"`{topic(file)}` ({len(file.groups)})"


def _blind(files: Sequence[RuleFile]) -> Iterator[Problem]:
    """Alerts on counters of a Prometheus server: Mimir's ruler has its own, in another tenant and under other names."""
    for alert in (rule for file in files for group in file.groups for rule in group.rules if isinstance(rule, Alert)):
        names = [read.name for read in reads(alert.expr) if read.name.startswith("prometheus_")]
        if names:
            yield Problem(
                "B613",
                f"`{alert.alert}` reads `{names[0]}`, which Mimir's ruler does not write: it will never fire there.",
                f"Watch `cortex_{names[0]}` where Mimir itself is monitored.",
                Place("mimir/rules/meta.yml"),
                Severity.WARNING,
            )


# -- Alertmanager


def _alertmanager(stack: Stack, site: Site) -> tuple[File, tuple[str, ...]]:
    """The configuration, with a variable for each secret since Mimir refuses to read files; and their names."""
    secrets: list[str] = []
    config = _without_files(values(alertmanager_file(stack, site)), secrets)
    about = f"Who gets which alert of {stack.name}; secrets are filled in when it is loaded, see README.md"
    return File("mimir/alertmanager.yml", to_yaml(config, about)), tuple(dict.fromkeys(secrets))


def _without_files(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, list):
        return [_without_files(item, secrets) for item in value]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key.endswith("_file"):
            secrets.append(str(inner).rpartition("/")[2])
            found[key.removesuffix("_file")] = f"${{{variable(secrets[-1])}}}"
        else:
            found[key] = _without_files(inner, secrets)
    return found


def variable(secret: str) -> str:
    """The variable of the environment that stands for a file of secrets/; two files never share one."""
    plain = "SECRET_" + re.sub(r"[^A-Z0-9]", "_", secret.upper())
    return plain if re.fullmatch(r"[a-z0-9]+", secret) else f"{plain}_{sha256(secret.encode()).hexdigest()[:6]}"


def _readme(stack: Stack, files: Sequence[RuleFile], secrets: Sequence[str]) -> str:
    groups = [group for file in files for group in file.groups]
    filled = "".join(f'{variable(name)}="$(cat secrets/{name})" \\\n  ' for name in secrets)
    only = " ".join(f"${{{variable(name)}}}" for name in secrets)
    names = ",".join(namespace(stack, file) for file in files)
    return f"""# {stack.name} on Grafana Mimir

{len(files)} namespaces, {len(groups)} groups (Mimir's default limit: {GROUPS_A_TENANT}), at most \
{max((len(group.rules) for group in groups), default=0)} rules in a group (default limit: {RULES_A_GROUP}).
Set `MIMIR_ADDRESS` and `MIMIR_TENANT_ID` (and `MIMIR_API_USER`, `MIMIR_API_KEY` where needed), then, in this folder:

```
mimirtool rules check rules/*.yml
mimirtool rules diff --namespaces={names} rules/*.yml
mimirtool rules sync --namespaces={names} rules/*.yml
```

`sync` removes groups of these namespaces that are no longer in the files, and touches no other namespace.

Mimir's Alertmanager reads no secrets from files. Fill them in on the way, and do not keep the result:

```
{filled}envsubst '{only}' < alertmanager.yml > /dev/shm/alertmanager.yml
mimirtool alertmanager verify /dev/shm/alertmanager.yml
mimirtool alertmanager load /dev/shm/alertmanager.yml
rm /dev/shm/alertmanager.yml
```

It needs no template files: all texts are in the configuration.
"""
