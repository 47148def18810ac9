"""Definitions -> files. The file to read first: `PASSES` is everything that the compiler does, in order.

A pass is a function of the stack and of where its parts will run. Nothing here knows YAML, a clock or a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from reliary import alerting, recording
from reliary.artifacts import File, RuleFile, Site
from reliary.composefile import compose_files
from reliary.dashboards import dashboards, grafana_provisioning
from reliary.exporterfile import exporter_config, to_text
from reliary.model import Stack
from reliary.prometheusfile import blackbox_files, prometheus_file
from reliary.proofs import proof_files
from reliary.routes import alertmanager_file
from reliary.rulefile import rule_file
from reliary.runbooks import runbook_files
from reliary.slo.budgets import budget_file, calendar_file, maintenance_file
from reliary.slo.proofs import slo_proofs
from reliary.slo.rules import slo_files

Pass: TypeAlias = Callable[[Stack, Site, str], tuple[File, ...]]


def rules(stack: Stack, site: Site) -> tuple[RuleFile, ...]:
    """All rule files: facts and counts first, then what is made of them."""
    files = (recording.facts_file(stack), recording.support_file(stack), recording.recording_file(stack))
    return (*(file for file in files if file is not None), *alerting_rules(stack, site))


def alerting_rules(stack: Stack, site: Site) -> tuple[RuleFile, ...]:
    """The rule files that hold alerts; unlike facts they do not grow with the tenants."""
    files = (
        alerting.alert_file(stack, site),
        calendar_file(stack),
        maintenance_file(stack),
        *slo_files(stack, site),
        budget_file(stack),
        alerting.cost_file(stack, site),
        alerting.meta_file(stack, site),
    )
    return tuple(file for file in files if file is not None)


def _rules(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return tuple(rule_file(file) for file in rules(stack, site))


def _prometheus(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return (prometheus_file(stack, site), *blackbox_files(stack))


def _alertmanager(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return (alertmanager_file(stack, site),)


def _exporter(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return (File("exporter.json", to_text(exporter_config(stack, site, release))),)


def _grafana(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return (*dashboards(stack), *grafana_provisioning(stack, site))


def _runbooks(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return runbook_files(stack, site, alerting_rules(stack, site))


def _proofs(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    return (*proof_files(stack), *slo_proofs(stack))


PASSES: tuple[Pass, ...] = (
    _rules,
    _prometheus,
    _alertmanager,
    _exporter,
    _grafana,
    compose_files,
    _runbooks,
    _proofs,
)


def compile_stack(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    """Every file of a build, by path. `release` is the digest of the definitions; it names what is running.

    The same stack, site and release give the same bytes.
    """
    files = (file for compile_pass in PASSES for file in compile_pass(stack, site, release))
    return tuple(sorted(files, key=lambda file: file.path))
