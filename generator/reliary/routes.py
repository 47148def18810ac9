"""Alertmanager's configuration: who gets an alert, what is grouped, what hides behind what.

Secrets are named by file, never by value. `receiver_of` answers the same question as `amtool config routes test`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reliary import names
from reliary.artifacts import File, Site
from reliary.model import Channel, Email, PagerDuty, Receiver, Route, Slack, Smtp, Stack, Webhook
from reliary.names import duration
from reliary.promql import any_of, quoted
from reliary.yamltext import to_yaml

NOBODY = "nobody"
REPEAT_SECONDS = 4 * 3600
FAST = ("critical", "page")
GROUP_BY = ["alertname", "severity", "slo", "level"]


def alertmanager_file(stack: Stack, site: Site) -> File:
    """`alertmanager.yml`, for Alertmanager 0.25 and later."""
    config: dict[str, Any] = {}
    if stack.smtp:
        config["global"] = _smtp(stack.smtp, site)
    config["route"] = _tree(stack)
    config["inhibit_rules"] = _inhibitions(stack)
    config["receivers"] = [_receiver(receiver, site) for receiver in stack.receivers] + [{"name": NOBODY}]
    return File("alertmanager.yml", to_yaml(config, f"Who gets which alert of {stack.name}"))


def receiver_of(stack: Stack, labels: Mapping[str, str]) -> str:
    """The receiver that gets an alert with these labels."""
    if labels.get("alertname") == names.WATCHDOG:
        return NOBODY
    return next(route.to for route in stack.routes if matches(stack, route, labels))


def route_of(stack: Stack, labels: Mapping[str, str]) -> Route | None:
    """The definition's route that takes an alert with these labels; None for the watchdog, which has its own."""
    if labels.get("alertname") == names.WATCHDOG:
        return None
    return next(route for route in stack.routes if matches(stack, route, labels))


def matches(stack: Stack, route: Route, labels: Mapping[str, str]) -> bool:
    """True when a route takes an alert with these labels."""
    return (
        (route.severity is None or labels.get("severity") == route.severity)
        and (route.kind is None or labels.get("kind") == route.kind)
        and (route.scope == "all" or _is_vip(stack, labels.get(stack.tenant_label)))
    )


def _is_vip(stack: Stack, tenant_id: str | None) -> bool:
    return tenant_id is not None and any(tenant.vip and tenant.id == tenant_id for tenant in stack.tenants)


def _tree(stack: Stack) -> dict[str, Any]:
    """One branch a route, in order. Notifications are grouped by cause, not by tenant: 500 tenants are one message."""
    return {
        "receiver": stack.routes[-1].to,
        "group_by": GROUP_BY,
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": duration(REPEAT_SECONDS),
        "routes": [_watchdog(), *(_branch(stack, route) for route in stack.routes)],
    }


def _watchdog() -> dict[str, Any]:
    return {"receiver": NOBODY, "matchers": [f"alertname={quoted(names.WATCHDOG)}"]}


def _branch(stack: Stack, route: Route) -> dict[str, Any]:
    matchers = [
        f"{label}={quoted(value)}"
        for label, value in (("severity", route.severity), ("kind", route.kind))
        if value is not None
    ]
    if route.scope == "vip":
        matchers.append(f"{stack.tenant_label}=~{quoted(any_of([tenant.id for tenant in stack.vips]))}")
    branch: dict[str, Any] = {"receiver": route.to}
    if matchers:
        branch["matchers"] = matchers
    if route.severity in FAST:
        branch |= {"group_wait": "5s", "group_interval": "1m"}
    if route.scope == "vip":
        branch["group_by"] = [*GROUP_BY, stack.tenant_label]  # a second VIP in trouble is a page of its own
    return branch


def _inhibitions(stack: Stack) -> list[dict[str, Any]]:
    """What hides what, for one tenant: a critical alert its milder copy and its consequence, a page its ticket."""
    tenant = stack.tenant_label
    critical = f"severity={quoted('critical')}"
    return [
        {
            "source_matchers": [critical],
            "target_matchers": ['severity=~"general|warning"', 'kind="indicator"'],
            "equal": [tenant, "indicator"],
        },
        {"source_matchers": [critical, 'kind="indicator"'], "target_matchers": ['kind="health"'], "equal": [tenant]},
        {
            "source_matchers": ['severity="page"', 'kind="slo"'],
            "target_matchers": ['severity="ticket"', 'kind="slo"'],
            "equal": [tenant, "slo"],
        },
        {
            "source_matchers": ['alertname="CostBudgetExceeded"'],
            "target_matchers": ['alertname="CostBudgetWarning"'],
            "equal": [tenant],
        },
    ]


# -- receivers


def _receiver(receiver: Receiver, site: Site) -> dict[str, Any]:
    row: dict[str, Any] = {"name": receiver.name}
    for channel in receiver.channels:
        key, config = _channel(channel, site)
        row.setdefault(key, []).extend(config)
    return row


def _channel(channel: Channel, site: Site) -> tuple[str, list[dict[str, Any]]]:
    match channel:
        case PagerDuty(routing_key_file):
            return "pagerduty_configs", [_pagerduty(_secret(site, routing_key_file))]
        case Slack(name, url_file):
            return "slack_configs", [_slack(name, _secret(site, url_file))]
        case Email(to):
            return "email_configs", [_email(address) for address in to]
        case Webhook(url):
            return "webhook_configs", [{"url": url, "send_resolved": True}]


def _secret(site: Site, name: str) -> str:
    return f"{site.secrets_dir}/{name}"


TITLE = (
    '[{{ .Status | toUpper }}{{ if eq .Status "firing" }}: {{ .Alerts.Firing | len }}{{ end }}] '
    "{{ .CommonLabels.alertname }} ({{ .CommonLabels.severity }})"
)
BODY = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "{{ with .Annotations.dashboard }}Board: {{ . }}\n{{ end }}"
    "{{ with .Annotations.runbook_url }}Runbook: {{ . }}\n{{ end }}"
    "{{ with .Annotations.runbook }}Runbook: {{ . }}\n{{ end }}"
    "Since: {{ .StartsAt }}\n\n{{ end }}"
    "Silence or look closer: {{ .ExternalURL }}"
)


def _pagerduty(key_file: str) -> dict[str, Any]:
    return {
        "routing_key_file": key_file,
        "description": TITLE,
        "severity": '{{ if eq .CommonLabels.severity "critical" "page" }}critical{{ else }}warning{{ end }}',
        "details": {"alerts": BODY},
        "send_resolved": True,
    }


def _slack(channel: str, url_file: str) -> dict[str, Any]:
    return {"api_url_file": url_file, "channel": channel, "title": TITLE, "text": BODY, "send_resolved": True}


def _email(address: str) -> dict[str, Any]:
    return {"to": address, "headers": {"Subject": TITLE}, "html": "", "text": BODY, "send_resolved": True}


def _smtp(smtp: Smtp, site: Site) -> dict[str, Any]:
    row = {"smtp_smarthost": smtp.smarthost, "smtp_from": smtp.sender}
    if smtp.username:
        row["smtp_auth_username"] = smtp.username
    if smtp.password_file:
        row["smtp_auth_password_file"] = _secret(site, smtp.password_file)
    return row
