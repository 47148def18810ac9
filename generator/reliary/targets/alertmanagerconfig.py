"""Alertmanager's configuration -> an `AlertmanagerConfig` of the operator.

It is translated from what `routes.py` writes, key by key: a key without a counterpart is a problem by its name.
The version is v1alpha1, because the operator installs v1beta1 only where somebody runs its conversion webhook.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from reliary.artifacts import Site
from reliary.model import Stack
from reliary.problems import Place, Problem, Severity
from reliary.routes import alertmanager_file
from reliary.targets import Targeted
from reliary.targets.kubernetes import kubernetes_name, kubernetes_object, object_file
from reliary.targets.rules import values

PLACE = Place("operator/alertmanagerconfig.yaml")

Row: TypeAlias = dict[str, Any]


def alertmanager_config(stack: Stack, site: Site, release: str) -> Targeted:
    """The object and what it cannot say."""
    config = values(alertmanager_file(stack, site))
    translation = _Translation(kubernetes_name(stack.name, "secrets"), config.pop("global", {}))
    spec = translation.spec(config)
    value = kubernetes_object(stack, release, "v1alpha1", "AlertmanagerConfig", kubernetes_name(stack.name), spec)
    file = object_file("alertmanagerconfig", value, f"Who gets which alert of {stack.name}")
    return Targeted((file,), (_namespace_matcher(), *translation.problems))


def _namespace_matcher() -> Problem:
    return Problem(
        "B603",
        'the operator adds `namespace="…"` to the routes of an AlertmanagerConfig, and alerts on tenants have no '
        "such label: none would be routed.",
        "Set `alertmanagerConfigMatcherStrategy: {type: None}` on the Alertmanager, or name the object in its "
        "`alertmanagerConfiguration`.",
        PLACE,
        Severity.WARNING,
    )


class _Translation:
    """One pass over a configuration. `problems` has each key that the operator has no word for."""

    def __init__(self, secret: str, everywhere: Mapping[str, Any]) -> None:
        self.secret = secret
        self.smtp = {key: value for key, value in everywhere.items() if key.startswith("smtp_")}
        self.problems: list[Problem] = []
        for key in everywhere:
            if key not in self.smtp:
                self.cannot(f"global.{key}")

    def cannot(self, what: str) -> None:
        self.problems.append(
            Problem(
                "B602",
                f"an AlertmanagerConfig cannot express `{what}`; it is left out.",
                "Say it in the configuration of the Alertmanager itself (`configSecret`).",
                PLACE,
                Severity.WARNING,
            )
        )

    def spec(self, config: Mapping[str, Any]) -> Row:
        spec: Row = {}
        for key, value in config.items():
            match key:
                case "route":
                    spec["route"] = self.route(value)
                case "receivers":
                    spec["receivers"] = [self.receiver(row) for row in value]
                case "inhibit_rules":
                    spec["inhibitRules"] = [self.inhibition(row) for row in value]
                case "time_intervals" | "mute_time_intervals":
                    spec.setdefault("muteTimeIntervals", []).extend(self.interval(row) for row in value)
                case _:
                    self.cannot(key)
        return spec

    def route(self, row: Mapping[str, Any]) -> Row:
        return self.renamed(row, "route", _ROUTE, {"matchers": _matchers, "routes": self._routes})

    def _routes(self, rows: list[Mapping[str, Any]]) -> list[Row]:
        return [self.route(row) for row in rows]

    def inhibition(self, row: Mapping[str, Any]) -> Row:
        names = {"source_matchers": "sourceMatch", "target_matchers": "targetMatch", "equal": "equal"}
        return self.renamed(row, "inhibit_rules", names, {"source_matchers": _matchers, "target_matchers": _matchers})

    def interval(self, row: Mapping[str, Any]) -> Row:
        spans = [self._span(span) for span in row["time_intervals"]]
        return {"name": row["name"], "timeIntervals": spans}

    def _span(self, span: Mapping[str, Any]) -> Row:
        names = {"times": "times", "weekdays": "weekdays", "months": "months", "years": "years",
                 "days_of_month": "daysOfMonth"}  # fmt: skip
        return self.renamed(span, "time_intervals", names, {"times": _times, "days_of_month": _days})

    def receiver(self, row: Mapping[str, Any]) -> Row:
        receiver: Row = {"name": row["name"]}
        for key, configs in row.items():
            if key == "name":
                continue
            if key not in _CHANNELS:
                self.cannot(f"receivers.{key}")
                continue
            name, keys = _CHANNELS[key]
            receiver[name] = [self.channel(key, keys, config) for config in configs]
        return receiver

    def channel(self, kind: str, keys: Mapping[str, str], config: Mapping[str, Any]) -> Row:
        forms: dict[str, Callable[[Any], Any]] = {key: self.secret_key for key in config if key.endswith("_file")}
        forms |= {"details": _pairs, "headers": _pairs}
        channel = self.renamed(config, kind, keys, forms)
        if kind == "email_configs":
            channel = {**self.mail_server(), **channel, "html": _as_html(config)}
        return channel

    def mail_server(self) -> Row:
        """The operator has no global settings of its own: each address carries its mail server."""
        names = {
            "smtp_smarthost": "smarthost",
            "smtp_from": "from",
            "smtp_auth_username": "authUsername",
            "smtp_auth_password_file": "authPassword",
        }
        return self.renamed(self.smtp, "global", names, {"smtp_auth_password_file": self.secret_key})

    def secret_key(self, path: str) -> Row:
        return {"name": self.secret, "key": path.rpartition("/")[2]}

    def renamed(
        self,
        row: Mapping[str, Any],
        where: str,
        names: Mapping[str, str],
        forms: Mapping[str, Callable[[Any], Any]],
    ) -> Row:
        """The row with the operator's names for its keys, and values in the form that it wants."""
        for key in row:
            if key not in names:
                self.cannot(f"{where}.{key}")
        return {names[key]: forms[key](value) if key in forms else value for key, value in row.items() if key in names}


_ROUTE = {
    "receiver": "receiver",
    "matchers": "matchers",
    "group_by": "groupBy",
    "group_wait": "groupWait",
    "group_interval": "groupInterval",
    "repeat_interval": "repeatInterval",
    "continue": "continue",
    "mute_time_intervals": "muteTimeIntervals",
    "active_time_intervals": "activeTimeIntervals",
    "routes": "routes",
}
_CHANNELS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "pagerduty_configs": (
        "pagerdutyConfigs",
        {
            "routing_key_file": "routingKey",
            "description": "description",
            "severity": "severity",
            "details": "details",
            "send_resolved": "sendResolved",
        },
    ),
    "slack_configs": (
        "slackConfigs",
        {
            "api_url_file": "apiURL",
            "channel": "channel",
            "title": "title",
            "text": "text",
            "send_resolved": "sendResolved",
        },
    ),
    "email_configs": (
        "emailConfigs",
        {"to": "to", "headers": "headers", "html": "html", "text": "text", "send_resolved": "sendResolved"},
    ),
    "webhook_configs": ("webhookConfigs", {"url": "url", "url_file": "urlSecret", "send_resolved": "sendResolved"}),
}


def _pairs(row: Mapping[str, str]) -> list[Row]:
    return [{"key": key, "value": value} for key, value in row.items()]


def _as_html(config: Mapping[str, Any]) -> str:
    """The operator drops an empty text, and Alertmanager's own mail would take its place: ours, as it is."""
    return str(config["html"] or f"<pre>{config.get('text', '')}</pre>")


def _times(rows: list[Mapping[str, str]]) -> list[Row]:
    return [{"startTime": row["start_time"], "endTime": row["end_time"]} for row in rows]


def _days(days: list[str]) -> list[Row]:
    return [{"start": int(day.partition(":")[0]), "end": int(day.rpartition(":")[2])} for day in days]


_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)"(.*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _matchers(texts: list[str]) -> list[Row]:
    return [_matcher(text) for text in texts]


def _matcher(text: str) -> Row:
    """`severity="page"` -> its parts, which the operator quotes again."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f"not a matcher that routes.py writes: {text}")
    label, operator, quoted = found.groups()
    value = _ESCAPED.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], quoted)
    return {"name": label, "value": value, "matchType": operator}
