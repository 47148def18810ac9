"""The stack as objects of the Prometheus Operator: rules, routing, and what is scraped and probed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reliary.artifacts import Alert, File, Recording, RuleFile, Site
from reliary.model import Stack
from reliary.problems import Place, Problem, Severity
from reliary.targets import Targeted
from reliary.targets.alertmanagerconfig import alertmanager_config
from reliary.targets.kubernetes import (
    OBJECT_BYTES,
    Object,
    kubernetes_name,
    kubernetes_object,
    object_file,
    stored_bytes,
)
from reliary.targets.monitors import monitors
from reliary.targets.rules import group_values, rule_values, topic
from reliary.targets.splitting import packed, split
from reliary.yamltext import to_yaml

OPERATOR_BYTES = 500_000
"""Rules of one object that the operator takes: 512 KiB, less what its own form of them may have more."""
OVERHEAD_BYTES = 4_000
"""What an object may have beside its rules: names, labels, and the names of its groups."""


def operator_files(stack: Stack, site: Site, release: str, rules: Sequence[RuleFile]) -> Targeted:
    """One `PrometheusRule` a rule file, or several where it is large; one `AlertmanagerConfig`; monitors and probes."""
    found = [each for file in rules for each in _rule_objects(stack, release, file)]
    files = [object_file(f"rules/{path}", value, about) for path, value, about in found]
    routing = alertmanager_config(stack, site, release)
    files += [*routing.files, *monitors(stack, site, release)]
    problems = [problem for path, value, _ in found for problem in _too_large(path, value)]
    return Targeted((*files, _kustomization(stack, files)), (*problems, *routing.problems))


def _rule_objects(stack: Stack, release: str, file: RuleFile) -> Iterator[tuple[str, Object, str]]:
    room = OBJECT_BYTES - OVERHEAD_BYTES - len(release)
    groups = [group_values(part) for group in file.groups for part in split(group, room, _weight)]
    cuts = packed([stored_bytes(group) for group in groups], room)
    for number, cut in enumerate(cuts, 1):
        path = topic(file) if len(cuts) == 1 else f"{topic(file)}-{number}"
        about = file.about if len(cuts) == 1 else f"{file.about} (part {number} of {len(cuts)})"
        name = kubernetes_name(stack.name, path)
        yield path, kubernetes_object(stack, release, "v1", "PrometheusRule", name, {"groups": groups[cut]}), about


def _weight(rule: Recording | Alert) -> int:
    return stored_bytes(rule_values(rule)) + 1


def _too_large(path: str, value: Object) -> Iterator[Problem]:
    size = stored_bytes(value)
    if size <= OBJECT_BYTES:
        return
    fits = size <= OPERATOR_BYTES
    limit = f"{OBJECT_BYTES:,} that `kubectl apply` can keep" if fits else f"{OPERATOR_BYTES:,} that the operator takes"
    yield Problem(
        "B601",
        f"this PrometheusRule has {size:,} bytes, more than the {limit}; its rules need each other's newest values, "
        "so it cannot be divided.",
        "Apply it with `kubectl apply --server-side`."
        if fits
        else "Name fewer tenants in one expression: give them a tier, or let maintenance windows hold for all.",
        Place(f"operator/rules/{path}.yaml"),
        Severity.WARNING if fits else Severity.ERROR,
    )


def _kustomization(stack: Stack, files: Sequence[File]) -> File:
    """So that `kubectl apply -k operator` takes all of them."""
    value = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [file.path.removeprefix("operator/") for file in files],
    }
    return File(
        "operator/kustomization.yaml", to_yaml(value, f"All objects of {stack.name}: kubectl apply -k operator")
    )
