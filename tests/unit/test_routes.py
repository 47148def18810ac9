"""Who gets an alert: our answer, and amtool's on the compiled configuration."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from reliary import routes
from reliary.artifacts import Site
from reliary_stack.binaries import find_tool
from support import aether

VIP, OTHER = "vip-customer-456", "acme"


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"severity": "critical", "kind": "indicator", "tenant_id": VIP}, "vip-pager"),
        ({"severity": "page", "kind": "slo", "tenant_id": VIP}, "vip-pager"),
        ({"severity": "page", "kind": "slo", "tenant_id": OTHER}, "ops-channel"),
        ({"severity": "critical", "kind": "indicator", "tenant_id": f"{VIP}-test"}, "ops-channel"),
        ({"severity": "general", "kind": "indicator", "tenant_id": VIP}, "ops-channel"),
        ({"severity": "warning", "kind": "cost", "tenant_id": VIP}, "finance"),
        ({"severity": "warning", "kind": "health", "tenant_id": OTHER}, "ops-channel"),
        ({"alertname": "Watchdog", "severity": "none", "kind": "platform"}, "nobody"),
    ],
)
def test_an_alert_goes_to(labels: dict[str, str], receiver: str) -> None:
    assert routes.receiver_of(aether(), labels) == receiver


def test_finance_and_engineering_leadership_are_mailed_about_cost() -> None:
    config = routes.alertmanager_file(aether(), Site()).text
    assert "vp-eng@example.com" in config
    assert "finance@example.com" in config


def test_no_secret_is_in_the_configuration_only_names_of_files() -> None:
    config = routes.alertmanager_file(aether(), Site()).text
    for key in ("routing_key_file", "api_url_file", "smtp_auth_password_file"):
        assert f"{key}: /run/secrets/" in config


def test_amtool_agrees_for_every_combination_of_labels(tmp_path: Path) -> None:
    stack = aether()
    path = tmp_path / "alertmanager.yml"
    path.write_text(routes.alertmanager_file(stack, Site()).text)
    severities = ("critical", "warning", "general", "page", "ticket", "none")
    kinds = ("indicator", "health", "slo", "cost", "platform")
    tenants = (VIP, OTHER, f"x{VIP}")
    for severity, kind, tenant in itertools.product(severities, kinds, tenants):
        labels = {"alertname": "X", "severity": severity, "kind": kind, "tenant_id": tenant}
        words = [f"{name}={value}" for name, value in labels.items()]
        done = subprocess.run(
            [find_tool("amtool").path, "config", "routes", "test", f"--config.file={path}", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == routes.receiver_of(stack, labels), labels
