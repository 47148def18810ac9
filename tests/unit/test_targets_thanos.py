"""Rule files for Thanos Ruler: strict groups, and which rules leave the ruler to read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from reliary.artifacts import Recording, RuleFile, RuleGroup, Site
from reliary.compile import rules
from reliary.rulefile import rule_file
from reliary.targets import Targeted, target_files
from reliary.targets.thanos import remote
from support import aether
from unit.test_targets import RELEASE, promtool


@pytest.fixture(scope="module")
def found() -> Targeted:
    stack = aether()
    return target_files("thanos", stack, Site(alertmanager="alerts.example.com:9093"), RELEASE, rules(stack, Site()))


def text(found: Targeted, path: str) -> str:
    return next(file.text for file in found.files if file.path == path)


def test_every_group_fails_rather_than_count_half_and_is_otherwise_the_same(found: Targeted, tmp_path: Path) -> None:
    for file in rules(aether(), Site()):
        groups = yaml.safe_load(text(found, f"thanos/{file.path}"))["groups"]
        assert [group.pop("partial_response_strategy") for group in groups] == ["abort"] * len(file.groups)
        assert groups == yaml.safe_load(rule_file(file).text)["groups"]
        (tmp_path / file.path.rpartition("/")[2]).write_text(yaml.safe_dump({"groups": groups}))
    promtool(tmp_path, "check", "rules", *(path.name for path in tmp_path.iterdir()))


def test_prometheus_would_refuse_these_files_which_is_why_they_are_extra(found: Targeted, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(text(found, "thanos/rules/meta.yml"))
    with pytest.raises(AssertionError, match="field partial_response_strategy not found"):
        promtool(tmp_path, "check", "rules", "x.yml")


def test_alerts_go_to_the_alertmanager_of_the_site(found: Targeted) -> None:
    (where,) = yaml.safe_load(text(found, "thanos/alertmanagers.yml"))["alertmanagers"]
    assert where == {"static_configs": ["alerts.example.com:9093"], "scheme": "http", "api_version": "v2"}


def test_the_flags_label_what_is_recorded_and_hide_the_replica_from_alertmanager(found: Targeted) -> None:
    block = text(found, "thanos/README.md").partition("```\n")[2].partition("\n```")[0]
    words = shlex.split(block.replace("\\\n", " "))
    assert words[:2] == ["thanos", "rule"]
    assert '--label=stack="aether"' in words
    assert '--label=replica="$HOSTNAME"' in words
    assert "--alert.label-drop=replica" in words
    assert "--eval-interval=30s" in words


def test_only_rules_on_scraped_series_are_said_to_read_elsewhere(found: Targeted) -> None:
    far = {rule for _, rule, _ in remote(rules(aether(), Site()))}
    assert {"tenant_slo:total:rate5m", "tenant_slo:errors:rate5m", "TargetDown"} <= far
    recorded = {rule for rule in far if "burn_rate" in rule or "budget_remaining" in rule or "sum5m" in rule}
    assert recorded == {"aether:cost_usd:sum5m", "tenant_slo:burn_rate:30m"}
    readme = text(found, "thanos/README.md")
    assert "| aether-slo-availability-fast | `tenant_slo:total:rate5m` | `http_requests_total` |" in readme


def test_a_rule_that_reads_another_file_s_output_stays_within_the_ruler() -> None:
    files = [
        RuleFile("rules/a.yml", "A", (RuleGroup("g", 30, (Recording("a", "raw"),)),)),
        RuleFile("rules/b.yml", "B", (RuleGroup("h", 30, (Recording("b", "a"),)),)),
    ]
    assert remote(files) == (("g", "a", "raw"),)
