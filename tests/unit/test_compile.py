"""What the example becomes: the counts, names and values that its requirements state, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from reliary import alerting, names, recording, windows
from reliary.artifacts import Alert, Site
from reliary.compile import compile_stack, rules
from reliary.definitions.spec import read_definitions
from reliary.emit import write_build
from reliary.guards import NotTraffic
from support import AETHER, aether

SEED_RECORDING_RULES = [
    "aether:cache_hit_ratio:5m",
    "aether:cache_hit_ratio:5m:all",
    "aether:rerank_utilization_pct:15m",
    "aether:rerank_utilization_pct:15m:all",
    "aether:lowconfidence_pct:15m",
    "aether:lowconfidence_pct:15m:all",
    "aether:health_score:15m",
    "aether:estimated_cost_30d_usd",
]
SEED_ALERTS = {
    "CacheEffectivenessDrop": ("aether:cache_hit_ratio:5m < 0.3", "15m", "general"),
    "CacheEffectivenessDropVIP": ("aether:cache_hit_ratio:5m < 0.2", "10m", "critical"),
    "LowConfidenceSpike": ("aether:lowconfidence_pct:15m > 30", "15m", "general"),
    "LowConfidenceSpikeVIP": ("aether:lowconfidence_pct:15m > 40", "10m", "critical"),
    "HealthScoreDegradation": ("aether:health_score:15m < 60", "15m", "warning"),
}


@pytest.fixture(scope="module")
def build() -> dict[str, str]:
    reading = read_definitions(AETHER)
    assert reading.stack is not None
    return {file.path: file.text for file in compile_stack(reading.stack, Site(), reading.digest)}


def _rules(build: dict[str, str], path: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(build[path])["groups"] for rule in group["rules"]]


def test_the_eight_recording_rules_of_the_requirements_stand_in_a_file_of_their_own(build: dict[str, str]) -> None:
    assert [rule["record"] for rule in _rules(build, "rules/recording.yml")] == SEED_RECORDING_RULES


def test_the_five_alerts_of_the_requirements_have_their_limits_durations_and_severities(build: dict[str, str]) -> None:
    found = {
        rule["alert"]: (rule["expr"].splitlines()[0], rule["for"], rule["labels"]["severity"])
        for rule in _rules(build, "rules/alerts.yml")
    }
    assert found == SEED_ALERTS


def test_vip_alerts_ask_the_tenant_facts_and_not_a_pattern(build: dict[str, str]) -> None:
    for rule in _rules(build, "rules/alerts.yml"):
        assert ('tenant_info{vip="true"}' in rule["expr"]) == rule["alert"].endswith("VIP")
        assert "=~" not in rule["expr"]


def test_every_alert_on_requests_has_a_guard_that_is_joined_on_the_tenant() -> None:
    alerts = [
        rule
        for file in rules(aether(), Site())
        for group in file.groups
        for rule in group.rules
        if isinstance(rule, Alert)
    ]
    assert len(alerts) > 15
    for alert in alerts:
        if isinstance(alert.guard, NotTraffic):
            assert dict(alert.labels)["kind"] == "platform"
        else:
            assert "tenant_id" in alert.on
            assert f"and on ({', '.join(alert.on)})\n({alert.guard.expr()})" in alert.expr


def test_an_alert_without_a_guard_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="guard"):
        Alert(alert="X", condition="up == 0", on=(), for_seconds=0, labels=(), annotations=())  # type: ignore[call-arg]


def test_no_recorded_number_has_the_noise_of_floats(build: dict[str, str]) -> None:
    text = "".join(content for path, content in build.items() if path.startswith("rules/"))
    assert "0.9999" in text
    assert "0000000" not in text
    assert "9999999" not in text


def test_only_objectives_that_are_a_tenants_own_are_facts(build: dict[str, str]) -> None:
    facts = {
        (rule["labels"]["tenant_id"], rule["labels"]["slo"]): rule["expr"]
        for rule in _rules(build, "rules/tenants.yml")
        if rule["record"] == names.OBJECTIVE
    }
    assert facts == {("vip-customer-123", "availability"): "vector(0.9999)"}


def test_the_number_of_rules_does_not_depend_on_the_tenants(build: dict[str, str]) -> None:
    from dataclasses import replace

    stack = aether()
    more = replace(stack, tenants=stack.tenants * 50)

    def count(of: Any) -> int:
        files = [file for file in rules(of, Site()) if "tenants" not in file.path]
        return sum(len(group.rules) for file in files for group in file.groups)

    assert count(more) == count(stack)


@pytest.mark.parametrize(
    ("window", "share", "long", "expected"),
    [
        (30, "0.02", 1, "14.4"),
        (30, "0.05", 6, "6"),
        (30, "0.10", 24, "3"),
        (30, "0.10", 72, "1"),
        (28, "0.02", 1, "13.44"),
    ],
)
def test_burn_factors_follow_from_the_share_of_the_budget(window: int, share: str, long: int, expected: str) -> None:
    from reliary.model import BurnTier

    tier = BurnTier("page", long * 3600, 300, Decimal(share))
    assert windows.factor(tier, window * 86400) == Decimal(expected)


def test_budgets_are_exact() -> None:
    assert windows.budget(Decimal("99.95")) == Decimal("0.0005")
    assert windows.budget(Decimal("99.9")) == Decimal("0.001")


def test_the_cost_estimate_looks_at_whole_weeks(build: dict[str, str]) -> None:
    known = {rule["record"]: rule["expr"] for rule in _rules(build, "rules/recording.yml")}
    expr = known["aether:estimated_cost_30d_usd"]
    assert "[7d]" in expr
    assert "720" not in expr
    assert recording.TILES_A_DAY * 30 == 8640


def test_text_of_users_is_no_template() -> None:
    assert alerting.literal("{{ $labels.x }} {{{") == '{{ "{{" }} $labels.x }} {{ "{{" }}{'


def test_the_manifest_names_every_file_with_its_digest(build: dict[str, str], tmp_path: Path) -> None:
    reading = read_definitions(AETHER)
    assert reading.stack is not None
    files = compile_stack(reading.stack, Site(), reading.digest)
    write_build(files, reading.digest, tmp_path / "build")
    manifest = json.loads((tmp_path / "build" / "manifest.json").read_text())
    assert manifest["definitions_sha256"] == reading.digest
    on_disk = {
        str(path.relative_to(tmp_path / "build")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "build").rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert {path: row["sha256"] for path, row in manifest["files"].items()} == on_disk


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for number in (1, 2):
        subprocess.run(
            [sys.executable, "-m", "reliary_stack", "compile", str(AETHER), "-o", str(tmp_path / f"build{number}")],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            check=True,
            capture_output=True,
        )
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "build1", tmp_path / "build2")
    )
    assert first == second
    assert len(first) > 35
