"""Objects of the Prometheus Operator: its published schemas take them, and they mean what the build means."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudcoil.models.prometheus_operator.v1 as v1
import cloudcoil.models.prometheus_operator.v1alpha1 as v1alpha1
import pytest
import yaml
from pydantic import ValidationError

from reliary import routes
from reliary.artifacts import File, Recording, RuleFile, RuleGroup, Site
from reliary.compile import rules
from reliary.model import Service, Stack
from reliary.promql import quoted
from reliary.targets import Targeted, target_files
from reliary.targets.kubernetes import OBJECT_BYTES, kubernetes_name, stored_bytes
from reliary.targets.rules import values
from reliary_stack.binaries import find_tool
from support import aether
from unit.test_targets import RELEASE, promtool, with_tenants


def targeted(stack: Stack, site: Site | None = None) -> Targeted:
    site = site or Site()
    return target_files("operator", stack, site, RELEASE, rules(stack, site))


def objects(found: Targeted) -> dict[str, Any]:
    return {file.path: values(file) for file in found.files if not file.path.endswith("kustomization.yaml")}


SCHEMAS: dict[tuple[str, str], Any] = {
    ("monitoring.coreos.com/v1", "PrometheusRule"): v1.PrometheusRule,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): v1.ServiceMonitor,
    ("monitoring.coreos.com/v1", "Probe"): v1.Probe,
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig"): v1alpha1.ScrapeConfig,
    ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig"): v1alpha1.AlertmanagerConfig,
}


def valid(value: dict[str, Any]) -> None:
    """The published schema of the object's kind takes it, and knows each of its keys."""
    schema = SCHEMAS[value["apiVersion"], value["kind"]]
    understood = schema.model_validate(value).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert unknown(value, understood) == []


def unknown(ours: Any, understood: Any, at: str = "") -> list[str]:
    """Keys that a schema has dropped."""
    if isinstance(ours, dict):
        assert isinstance(understood, dict), at
        lost = [f"{at}.{key}" for key in ours if key not in understood]
        return lost + [
            each for key in ours if key in understood for each in unknown(ours[key], understood[key], f"{at}.{key}")
        ]
    if isinstance(ours, list):
        pairs = zip(ours, understood, strict=True)
        return [each for place, (a, b) in enumerate(pairs) for each in unknown(a, b, f"{at}[{place}]")]
    return []


def everything() -> Stack:
    """The example with what else there is: addresses outside of the cluster, and each kind of channel."""
    stack = aether()
    more = (
        Service("billing", ("billing.shop.svc:9100", "10.0.0.7:9100", "metrics.example.com:443"), "/m", ()),
        Service("search_v2", ("search-a:80", "search-b.shop.svc.cluster.local:80", "localhost:1"), "/metrics", ()),
    )
    return replace(stack, services=(*stack.services, *more))


# -- schemas


@pytest.mark.parametrize("shards", [1, 3])
def test_the_published_schemas_take_every_object(shards: int) -> None:
    found = objects(targeted(replace(everything(), shards=shards)))
    assert {value["kind"] for value in found.values()} == {kind for _, kind in SCHEMAS}
    for value in found.values():
        valid(value)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("operator/rules/meta.yaml", lambda spec: spec["groups"][0]["rules"][1].update({"for": "soon"})),
        ("operator/rules/meta.yaml", lambda spec: spec["groups"][0]["rules"][1].update(keepFiringFor="5m")),
        ("operator/rules/meta.yaml", lambda spec: spec["groups"][0].pop("name")),
        ("operator/alertmanagerconfig.yaml", lambda spec: spec["receivers"][0].update(slack_configs=[])),
        ("operator/alertmanagerconfig.yaml", lambda spec: spec["inhibitRules"][0]["sourceMatch"][0].pop("name")),
        ("operator/servicemonitors/aether-api.yaml", lambda spec: spec["endpoints"][0].update(interval="often")),
        ("operator/probes/aether-api.yaml", lambda spec: spec["prober"].pop("url")),
    ],
)
def test_the_check_against_the_schemas_can_fail(path: str, change: Any) -> None:
    value = objects(targeted(aether()))[path]
    change(value["spec"])
    with pytest.raises((AssertionError, ValidationError)):
        valid(value)


def test_nested_routes_which_the_schema_leaves_open_are_routes_as_well() -> None:
    def nested(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for inner in route.get("routes", []):
            yield inner
            yield from nested(inner)

    spec = objects(targeted(aether()))["operator/alertmanagerconfig.yaml"]["spec"]
    found = list(nested(spec["route"]))
    assert len(found) == len(aether().routes) + 1
    for route in found:
        understood = v1alpha1.Route.model_validate(route)
        assert unknown(route, understood.model_dump(mode="json", by_alias=True, exclude_unset=True)) == []


# -- names


def test_names_and_labels_are_what_kubernetes_takes() -> None:
    found = objects(targeted(everything()))
    names = [(value["kind"], value["metadata"]["name"]) for value in found.values()]
    assert len(set(names)) == len(names)
    for value in found.values():
        name = value["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name), name
        assert len(name) <= 63
        for label in value["metadata"]["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]", label), label
        assert value["metadata"]["annotations"]["reliary-release"] == RELEASE


@pytest.mark.parametrize("words", [("a_b", "c"), ("A",), ("x" * 80,), ("-",), ("ä",), ("a", "b-")])
def test_a_name_that_kubernetes_does_not_take_gets_one_of_its_own(words: tuple[str, ...]) -> None:
    name = kubernetes_name(*words)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63
    assert name != kubernetes_name("a-b", "c")
    assert name == kubernetes_name(*words)


def test_kustomize_lists_every_file() -> None:
    found = targeted(aether())
    listed = yaml.safe_load(found.files[-1].text)["resources"]
    assert [f"operator/{name}" for name in listed] == [file.path for file in found.files[:-1]]


# -- rules


def test_promtool_takes_the_spec_of_every_prometheus_rule(tmp_path: Path) -> None:
    for path, value in objects(targeted(aether())).items():
        if value["kind"] == "PrometheusRule":
            (tmp_path / path.replace("/", "-")).write_text(yaml.safe_dump(value["spec"]))
    promtool(tmp_path, "check", "rules", *sorted(path.name for path in tmp_path.iterdir()))


def test_facts_of_ten_thousand_tenants_are_several_objects_that_each_fit() -> None:
    stack = with_tenants(aether(), 10_000)
    found = targeted(stack)
    assert [problem.code for problem in found.problems] == ["B603"]
    written = objects(found)
    parts = [path for path in written if path.startswith("operator/rules/tenants")]
    assert len(parts) >= 5
    assert parts[0] == "operator/rules/tenants-1.yaml"
    assert "part 1 of" in next(file.text for file in found.files if file.path == parts[0])
    largest = max(stored_bytes(value) for value in written.values())
    assert 0.9 * OBJECT_BYTES < largest <= OBJECT_BYTES


@pytest.mark.parametrize(
    ("length", "severity", "said"), [(300_000, "warning", "--server-side"), (600_000, "error", "Name fewer tenants")]
)
def test_rules_that_cannot_be_divided_and_do_not_fit_are_a_problem(length: int, severity: str, said: str) -> None:
    first = Recording("a", f"x{{tenant_id={quoted('t' * length)}}}")
    file = RuleFile("rules/big.yml", "Big", (RuleGroup("g", 30, (first, Recording("b", "a"))),))
    found = target_files("operator", aether(), Site(), RELEASE, [file])
    (problem,) = [problem for problem in found.problems if problem.code == "B601"]
    assert str(problem.place) == "operator/rules/big.yaml"
    assert problem.severity == severity
    assert said in problem.advice


# -- routing


def test_a_warning_says_that_the_operator_adds_a_matcher_of_its_own() -> None:
    (problem,) = targeted(aether()).problems
    assert problem.code == "B603"
    assert "alertmanagerConfigMatcherStrategy" in problem.advice


def test_secrets_are_keys_of_one_secret_and_nothing_is_a_path() -> None:
    file = next(file for file in targeted(aether()).files if "alertmanagerconfig" in file.path)
    assert "/run/secrets" not in file.text
    text = json.dumps(yaml.safe_load(file.text))
    for field, key in (("routingKey", "pagerduty"), ("apiURL", "slack"), ("authPassword", "smtp")):
        assert f'"{field}": {{"name": "aether-secrets", "key": "{key}"}}' in text


def test_what_it_cannot_express_is_a_warning_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load(routes.alertmanager_file(aether(), Site()).text)
    config["templates"] = ["*.tmpl"]
    config["global"]["resolve_timeout"] = "3m"
    config["route"]["routes"][1]["new_key"] = 1
    config["receivers"][0]["discord_configs"] = []
    config["receivers"][0]["pagerduty_configs"][0]["client"] = "x"
    changed = File("alertmanager.yml", yaml.safe_dump(config, sort_keys=False))
    monkeypatch.setattr("reliary.targets.alertmanagerconfig.alertmanager_file", lambda stack, site: changed)
    found = targeted(aether())
    said = [problem.message for problem in found.problems if problem.code == "B602"]
    for name in (
        "templates",
        "global.resolve_timeout",
        "route.new_key",
        "receivers.discord_configs",
        "pagerduty_configs.client",
    ):
        assert any(f"`{name}`" in message for message in said), name
    assert len(said) == 5
    for value in objects(found).values():
        valid(value)


def test_times_at_which_a_route_is_silent_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load(routes.alertmanager_file(aether(), Site()).text)
    span = {"times": [{"start_time": "02:00", "end_time": "02:30"}], "weekdays": ["sunday"], "days_of_month": ["1:7"]}
    config["time_intervals"] = [{"name": "patching", "time_intervals": [span]}]
    config["route"]["routes"][1]["mute_time_intervals"] = ["patching"]
    changed = File("alertmanager.yml", yaml.safe_dump(config, sort_keys=False))
    monkeypatch.setattr("reliary.targets.alertmanagerconfig.alertmanager_file", lambda stack, site: changed)
    value = objects(targeted(aether()))["operator/alertmanagerconfig.yaml"]
    valid(value)
    assert value["spec"]["route"]["routes"][1]["muteTimeIntervals"] == ["patching"]
    (interval,) = value["spec"]["muteTimeIntervals"][0]["timeIntervals"]
    assert interval["times"] == [{"startTime": "02:00", "endTime": "02:30"}]
    assert interval["daysOfMonth"] == [{"start": 1, "end": 7}]


def as_alertmanager_has_it(route: dict[str, Any]) -> dict[str, Any]:
    """What the operator makes of a route again, as far as routing goes."""
    row: dict[str, Any] = {"receiver": route["receiver"]}
    if "matchers" in route:
        row["matchers"] = [f"{m['name']}{m['matchType']}{quoted(m['value'])}" for m in route["matchers"]]
    return {**row, "routes": [as_alertmanager_has_it(inner) for inner in route.get("routes", [])]}


def test_alerts_go_where_they_go_with_a_configuration_of_ours(tmp_path: Path) -> None:
    stack = aether()
    spec = objects(targeted(stack))["operator/alertmanagerconfig.yaml"]["spec"]
    receivers = [{"name": receiver["name"]} for receiver in spec["receivers"]]
    config = {"route": as_alertmanager_has_it(spec["route"]), "receivers": receivers}
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    tenants = ("vip-customer-456", "acme", "xvip-customer-456")
    for severity, kind, tenant in itertools.product(("critical", "page", "ticket"), ("slo", "cost"), tenants):
        labels = {"alertname": "X", "severity": severity, "kind": kind, "tenant_id": tenant}
        words = ["config", "routes", "test", "--config.file=alertmanager.yml", *(f"{k}={v}" for k, v in labels.items())]
        done = subprocess.run(
            [find_tool("amtool").path, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == routes.receiver_of(stack, labels)


def test_a_matcher_with_quotes_and_backslashes_keeps_its_value() -> None:
    from reliary.targets.alertmanagerconfig import _matcher

    value = 'a"b\\c\nd|e\\.f'
    assert _matcher(f"tenant_id=~{quoted(value)}") == {"name": "tenant_id", "value": value, "matchType": "=~"}


# -- scraping


def test_a_service_of_the_cluster_is_a_service_monitor_and_an_address_outside_a_scrape_config() -> None:
    found = objects(targeted(everything()))
    api = found["operator/servicemonitors/aether-api.yaml"]["spec"]
    assert api["selector"] == {"matchLabels": {"app.kubernetes.io/name": "aether-api"}}
    assert api["endpoints"][0]["targetPort"] == 8000
    assert api["endpoints"][0]["relabelings"] == [{"targetLabel": "job", "replacement": "aether-api"}]
    inside = found["operator/servicemonitors/billing.yaml"]["spec"]
    assert inside["namespaceSelector"] == {"matchNames": ["shop"]}
    outside = found["operator/scrapeconfigs/billing.yaml"]["spec"]
    assert outside["staticConfigs"] == [
        {"targets": ["10.0.0.7:9100", "metrics.example.com:443"], "labels": {"job": "billing"}}
    ]
    assert outside["metricsPath"] == "/m"
    assert found["operator/scrapeconfigs/search_v2.yaml"]["spec"]["staticConfigs"][0]["targets"] == ["localhost:1"]
    assert {"operator/servicemonitors/search_v2-1.yaml", "operator/servicemonitors/search_v2-2.yaml"} <= set(found)


def test_urls_are_probed_under_the_job_that_the_rules_know() -> None:
    probe = objects(targeted(aether()))["operator/probes/aether-api.yaml"]["spec"]
    assert probe["jobName"] == "aether-api-probe"
    assert probe["prober"]["url"] == "blackbox:9115"
    assert probe["targets"]["staticConfig"]["static"] == ["http://aether-api:8000/health"]
    assert not any("/probes/" in path for path in objects(targeted(aether(), replace(Site(), blackbox=None))))
