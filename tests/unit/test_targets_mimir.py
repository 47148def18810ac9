"""Rule groups within Mimir's limits, problems that name the limit to raise, and a configuration without files."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from string import Template
from typing import Any

import yaml

from reliary.artifacts import Recording, RuleFile, RuleGroup, Site
from reliary.compile import rules
from reliary.model import Stack
from reliary.targets import Targeted, target_files
from reliary.targets.mimir import variable
from reliary_stack.binaries import find_tool
from support import aether
from unit.test_targets import RELEASE, promtool, with_tenants


def targeted(stack: Stack, files: tuple[RuleFile, ...] | None = None) -> Targeted:
    return target_files("mimir", stack, Site(), RELEASE, rules(stack, Site()) if files is None else files)


def namespaces(found: Targeted) -> dict[str, Any]:
    return {file.path: yaml.safe_load(file.text) for file in found.files if "/rules/" in file.path}


def codes(found: Targeted) -> list[str]:
    return [problem.code for problem in found.problems if problem.code in ("B611", "B612")]


def one_file(*groups: RuleGroup) -> tuple[RuleFile, ...]:
    return (RuleFile("rules/x.yml", "X", groups),)


def test_each_rule_file_is_a_namespace_with_groups_that_promtool_takes(tmp_path: Path) -> None:
    found = namespaces(targeted(aether()))
    assert len({value["namespace"] for value in found.values()}) == len(found)
    assert found["mimir/rules/slo-availability.yml"]["namespace"] == "aether-slo-availability"
    for path, value in found.items():
        assert list(value) == ["namespace", "groups"]
        (tmp_path / path.rpartition("/")[2]).write_text(yaml.safe_dump({"groups": value["groups"]}))
    promtool(tmp_path, "check", "rules", *(path.name for path in tmp_path.iterdir()))


def test_the_example_stays_within_the_default_limits() -> None:
    found = targeted(aether())
    groups = [group for value in namespaces(found).values() for group in value["groups"]]
    assert codes(found) == []
    assert max(len(group["rules"]) for group in groups) <= 20
    assert len(groups) <= 70


def test_ten_thousand_tenants_stay_within_the_default_limits(tmp_path: Path) -> None:
    found = targeted(with_tenants(aether(), 10_000))
    groups = [group for value in namespaces(found).values() for group in value["groups"]]
    assert codes(found) == []
    assert max(len(group["rules"]) for group in groups) <= 20
    assert 20 < len(groups) <= 70
    facts = namespaces(found)["mimir/rules/tenants.yml"]
    (tmp_path / "facts.yml").write_text(yaml.safe_dump({"groups": facts["groups"]}))
    promtool(tmp_path, "check", "rules", "facts.yml")
    infos = [rule["expr"] for group in facts["groups"] for rule in group["rules"] if rule["record"] == "tenant_info"]
    assert sum(expr.count("vector(1)") for expr in infos) == 10_000 + len(aether().tenants)


def test_more_rules_in_a_row_than_a_group_may_have_name_the_limit_and_its_number() -> None:
    chain = tuple(Recording(f"r{number}", f"r{number - 1} + 1") for number in range(1, 26))
    found = targeted(aether(), one_file(RuleGroup("chain", 30, chain)))
    (problem,) = found.problems
    assert problem.code == "B611"
    assert "`chain` has 25 rules" in problem.message
    assert "ruler_max_rules_per_rule_group: 25" in problem.advice
    assert len(namespaces(found)["mimir/rules/x.yml"]["groups"][0]["rules"]) == 25


def test_more_groups_than_a_tenant_may_have_name_the_limit_and_its_number() -> None:
    def groups(count: int) -> tuple[RuleGroup, ...]:
        return tuple(RuleGroup(f"g{number}", 30, (Recording("a", "b"),)) for number in range(count))

    assert codes(targeted(aether(), one_file(*groups(70)))) == []
    (problem,) = targeted(aether(), one_file(*groups(71))).problems
    assert problem.code == "B612"
    assert "ruler_max_rule_groups_per_tenant: 71" in problem.advice
    assert "`x` (71)" in problem.message


def test_alerts_that_mimir_cannot_evaluate_are_warned_of_by_name() -> None:
    said = [problem.message for problem in targeted(aether()).problems if problem.code == "B613"]
    assert len(said) == 2
    assert any("`RuleEvaluationFailing` reads `prometheus_rule_evaluation_failures_total`" in each for each in said)


def test_the_alertmanager_configuration_names_no_file_and_is_valid_once_filled_in(tmp_path: Path) -> None:
    text = next(file.text for file in targeted(aether()).files if file.path == "mimir/alertmanager.yml")
    assert "_file:" not in text
    assert set(re.findall(r"\$\{(\w+)\}", text)) == {"SECRET_PAGERDUTY", "SECRET_SLACK", "SECRET_SMTP"}
    secrets = {"SECRET_PAGERDUTY": "k" * 32, "SECRET_SLACK": "https://hooks.example.com/x", "SECRET_SMTP": "pw"}
    (tmp_path / "alertmanager.yml").write_text(Template(text).safe_substitute(secrets))
    words = [find_tool("amtool").path, "check-config", "alertmanager.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_secrets_never_share_a_variable() -> None:
    names = ["slack", "slack.eu", "slack-eu", "slack_eu", "SLACK"]
    variables = [variable(name) for name in names]
    assert len(set(variables)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", each) for each in variables)


def test_the_readme_fills_in_each_secret_and_syncs_only_these_namespaces() -> None:
    found = targeted(aether())
    text = found.files[-1].text
    for name in ("pagerduty", "slack", "smtp"):
        assert f'{variable(name)}="$(cat secrets/{name})"' in text
    (sync,) = [line for line in text.splitlines() if line.startswith("mimirtool rules sync")]
    flag = next(word for word in shlex.split(sync) if word.startswith("--namespaces="))
    assert set(flag.partition("=")[2].split(",")) == {value["namespace"] for value in namespaces(found).values()}
