"""The keys that definitions may have, as data: what the spec reader accepts and what `reliary schema` publishes."""

from __future__ import annotations

from decimal import Decimal

from reliary.definitions.scalars import PRINTABLE_LINES, Choice, Duration, FineDuration, Flag, Number, Text
from reliary.definitions.shapes import Either, JsonSchema, Key, List, Map, Record, Refusal
from reliary.definitions.times import EVERY, MOMENT, ZONE, Window

NAME = Text("a name", r"[a-z][a-z0-9_-]*", "lower-case letters, digits, - and _, starting with a letter", 60)
SERIES_NAME = Text("a series name", r"[a-z][a-z0-9_]*", "lower-case letters, digits and _, starting with a letter", 60)
LABEL_NAME = Text("a label name", r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", "letters, digits and _, not starting with __", 60)
ALERT_NAME = Text("an alert name", r"[A-Z][A-Za-z0-9]*", "letters and digits, starting with a capital: CacheDrop", 80)
TENANT_ID = Text(
    "a tenant id",
    r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._@+-]*",
    "letters, digits and . _ @ + - , starting with a letter or digit, without two dots in a row",
    128,
)
BOARD_UID = Text("a board id", r"[a-z0-9][a-z0-9-]*", "lower-case letters, digits and -", 40)
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
ADDRESS = Text("an address", _HOST + r":[1-9][0-9]{0,4}", "host:port, such as api:8000", 255)
URL = Text(
    "a URL",
    r"https?://" + _HOST + r"(?::[1-9][0-9]{0,4})?(?:[/?#][A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]*)?",
    "http:// or https://, a host (no user name, no password) and a path",
    500,
    secret=r"[^/]*//[^/]*@",
)
PATH = Text("a path", r"/[A-Za-z0-9._~/-]*", "a path that starts with /", 200)
EMAIL = Text(
    "an e-mail address",
    r"[A-Za-z0-9_%+-]+(?:\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*",
    "name@example.com",
    254,
)
SECRET = Text(
    "the name of a secret file",
    r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "the plain name of a file in the folder secrets/, without a path. The secret itself belongs into that file",
    80,
    "B127",
    secret=r"(?s).*[^\s]",
)
CHANNEL = Text("a channel", r"[#@][A-Za-z0-9._-]+", "#channel or @person", 80)
LINE = Text("a line of text")
PROMQL = Text("PromQL", PRINTABLE_LINES, "a counter, with matchers or without, or PromQL with `{window}`", 2000)
CONDITION = Text(
    "a condition",
    r"[a-z][a-z0-9_]* *[<>] *[0-9]{1,9}(?:\.[0-9]{1,9})?",
    "an indicator or health_score, < or >, and a number: cache_hit_ratio < 0.30",
    120,
)

WEEK = 7 * 86400
SEVERITIES = ("critical", "warning", "general")
ROUTED_SEVERITIES = (*SEVERITIES, "page", "ticket")
NUMBER_OF_EVENTS = Number("a number of events", Decimal(0), Decimal(1_000_000_000), whole=True)
KINDS = ("indicator", "health", "slo", "cost", "platform")


def _number(what: str, minimum: str, maximum: str, *, whole: bool = False) -> Number:
    return Number(what, Decimal(minimum), Decimal(maximum), whole=whole)


PERCENT = Number(
    "an objective in percent",
    Decimal(1),
    Decimal("99.9999"),
    example="99.9",
    code="B114",
    reason="is no objective: it is the percentage of good events, from 1 to 99.9999 (100 leaves no error budget)",
    advice="Write a percentage such as 99.9. For what may never fail, write a threshold alert on an indicator.",
)
USD = _number("an amount in USD", "0.000000001", "1000000000")
SCOPE = Choice(
    ("all", "vip"),
    "B118",
    "Write `vip`, and set `vip: true` on each VIP tenant: a pattern guesses who they are, and pages for strangers.",
)
BUDGET = Record(
    {
        "warn": Key(USD, "USD in 30 days at which a warning goes out", True),
        "critical": Key(USD, "USD in 30 days that must not be passed", True),
    }
)
_LITERAL = "a secret does not belong into a definition: this file is kept in version control."


def _literal(instead: str) -> Refusal:
    advice = f"Put a new one into a file in secrets/ and write `{instead}: <name of that file>`: this one is known now."
    return Refusal("B127", _LITERAL, advice, instead)


SERVICE = Record(
    {
        "scrape": Key(List(ADDRESS), "addresses that serve /metrics", True),
        "metrics_path": Key(PATH, "where the metrics are, /metrics unless said"),
        "probe": Key(List(URL), "URLs that must answer with 2xx"),
    }
)
TIER = Record(
    {
        "description": Key(LINE, "what this plan is"),
        "budget": Key(BUDGET, "spend limits of a tenant of this tier"),
    }
)
TENANT = Record(
    {
        "id": Key(TENANT_ID, "the value of the tenant label", True),
        "tier": Key(NAME, "one of the tiers", True),
        "name": Key(LINE, "what people call this tenant"),
        "vip": Key(Flag(), "true for a customer whose alerts page at once"),
        "objectives": Key(Map(SERIES_NAME, PERCENT), "objectives in percent by SLO, in place of the tier's"),
        "budget": Key(BUDGET, "spend limits in place of the tier's"),
    }
)
_EVENTS: dict[str, Key] = {
    "description": Key(LINE, "what is counted, in a few words"),
    "good": Key(PROMQL, "counter of good events"),
    "bad": Key(PROMQL, "counter of bad events"),
    "total": Key(PROMQL, "counter of all events"),
}
INDICATOR = Record(
    {
        **_EVENTS,
        "total": Key(PROMQL, "counter of all events", True),
        "over": Key(Duration(1, WEEK), "the window of the ratio, such as 5m", True),
        "as": Key(Choice(("ratio", "percent")), "ratio (0 to 1, the default) or percent (0 to 100)"),
    }
)
BURN_ROW = Record(
    {
        "severity": Key(Choice(("page", "ticket")), "what the alert does", True),
        "long": Key(Duration(), "long window", True),
        "short": Key(Duration(), "short window", True),
        "budget_share": Key(_number("a share", "0.0001", "1"), "share of the budget spent in the long window"),
        "factor": Key(_number("a burn rate", "0.01", "100000"), "burn rate, in place of `budget_share`"),
        "for": Key(Duration(1, WEEK), "how long it must hold, at once unless said"),
        "keep_firing_for": Key(Duration(1, WEEK), "how long it stays after that; 6h for tickets unless said"),
    }
)
BURN_ALERTS = Record(
    {
        "table": Key(NAME, "burn-rate table in rules/windows.yml, `google` unless said"),
        "rows": Key(List(BURN_ROW), "a table of your own"),
        "without": Key(
            List(
                Text(
                    "a burn tier", "page|ticket|[0-9]{1,4}[smhdw]", "`page`, `ticket` or a long window such as `3d`", 10
                )
            ),
            "tiers that are switched off",
        ),
        "guard": Key(
            Either(
                Choice(("margin", "none")),
                Record(
                    {
                        "bad": Key(NUMBER_OF_EVENTS, "bad events in the long window"),
                        "total": Key(NUMBER_OF_EVENTS, "events in the long window"),
                    }
                ),
            ),
            "margin (95 % sure, the default), none, or at least so many events",
        ),
    }
)
SLO = Record(
    {
        **_EVENTS,
        "histogram": Key(PROMQL, "a histogram, without _bucket, for a latency SLO"),
        "within": Key(
            Either(FineDuration(31 * 86400), Map(NAME, FineDuration(31 * 86400))),
            "the bucket of the histogram that is still good, such as 500ms; or by tier, with `default`",
        ),
        "buckets": Key(
            List(FineDuration(31 * 86400)), "the buckets that the histogram has, so that `within` is checked"
        ),
        "native": Key(Flag(), "true for a native histogram"),
        "probe": Key(PROMQL, "a gauge per tenant that is 1 when all is well, else 0"),
        "bad_ratio": Key(PROMQL, "share of bad events (0 to 1) over `{window}`, where there are no counters"),
        "good_ratio": Key(PROMQL, "share of good events (0 to 1) over `{window}`, where there are no counters"),
        "objective": Key(
            Either(PERCENT, Map(NAME, PERCENT)), "percent of good events; or by tier, with `default`", True
        ),
        "window": Key(Window(Duration(WEEK, 90 * 86400)), "rolling window, 7d to 90d; or month, or quarter", True),
        "zone": Key(ZONE, "time zone of a month or quarter, UTC unless said"),
        "exact": Key(Flag(), "true to read windows up to 6h from the counters: dearer, and sound after gaps"),
        "alerts": Key(Either(NAME, BURN_ALERTS), "burn-rate table, `google` unless said; `none`; or more to choose"),
        "owner": Key(NAME, "the team that answers for it"),
    }
)
COMPOSITE = Record(
    {
        "of": Key(List(SERIES_NAME), "the SLOs that are added up", True),
        "description": Key(LINE, "what it stands for"),
        "owner": Key(NAME, "the team that answers for it"),
    }
)
MAINTENANCE = Record(
    {
        "every": Key(EVERY, "when it starts: `Sun 02:00`, `daily 02:00`, `day 1 04:00`"),
        "from": Key(MOMENT, "when it starts, if it happens once: 2026-12-01 22:00"),
        "lasts": Key(Duration(60, 90 * 86400), "how long, such as 30m", True),
        "zone": Key(ZONE, "time zone of these times, UTC unless said"),
        "tenants": Key(List(TENANT_ID), "for whom; all unless said"),
        "slos": Key(List(SERIES_NAME), "which SLOs; all unless said"),
        "counts_against_sla": Key(Flag(), "false (the default): what happens within it costs no budget"),
    }
)
THRESHOLD = Record(
    {
        "when": Key(CONDITION, "condition: cache_hit_ratio < 0.30", True),
        "for": Key(Duration(1, WEEK), "how long it must hold", True),
        "severity": Key(Choice(SEVERITIES), "critical, warning or general", True),
        "tenants": Key(SCOPE, "all (the default) or vip"),
        "summary": Key(LINE, "one sentence for the person who is called", True),
        "first_steps": Key(List(LINE), "what to look at first; becomes the runbook"),
    }
)
COMPONENT = Record(
    {
        "indicator": Key(SERIES_NAME, "an indicator", True),
        "weight": Key(_number("a weight", "1", "100", whole=True), "share of the score; all weights give 100", True),
        "zero": Key(_number("a value", "0", "1000000"), "value of the indicator that scores 0", True),
        "full": Key(_number("a value", "0", "1000000"), "value of the indicator that scores 100", True),
    }
)
HEALTH = Record(
    {
        "profile": Key(NAME, "name of this way to score", True),
        "over": Key(Duration(1, WEEK), "window of the components", True),
        "components": Key(Map(NAME, COMPONENT), "parts of the score", True),
        "floor": Key(
            Record(
                {
                    "below": Key(_number("a score", "0", "100"), "a component under this score has collapsed", True),
                    "ceiling": Key(_number("a score", "0", "100"), "highest score left when one collapsed", True),
                }
            ),
            "what a collapsed component does to the score; 20 and 59 unless said",
        ),
    }
)
PRICE = Record(
    {
        "counter": Key(PROMQL, "counter of what is paid for", True),
        "per": Key(_number("a number of units", "0.000001", "1000000000000"), "units for that price, 1 unless said"),
        "usd": Key(USD, "price in USD", True),
    }
)
RECEIVER = Record(
    {
        "pagerduty": Key(
            Record(
                {"routing_key_file": Key(SECRET, "file in secrets/ with the Events v2 routing key", True)},
                {"routing_key": _literal("routing_key_file"), "service_key": _literal("routing_key_file")},
            ),
            "a PagerDuty service",
        ),
        "slack": Key(
            Record(
                {
                    "channel": Key(CHANNEL, "the channel", True),
                    "url_file": Key(SECRET, "file in secrets/ with the webhook URL", True),
                },
                {"url": _literal("url_file"), "api_url": _literal("url_file")},
            ),
            "a Slack channel",
        ),
        "email": Key(List(EMAIL), "addresses"),
        "webhook": Key(URL, "URL that gets Alertmanager's JSON"),
    }
)
ROUTE = Record(
    {
        "to": Key(NAME, "a receiver", True),
        "severity": Key(Choice(ROUTED_SEVERITIES), "only alerts of this severity"),
        "kind": Key(Choice(KINDS), "only alerts of this kind"),
        "tenants": Key(SCOPE, "all (the default) or vip"),
        "within": Key(Duration(), "how soon somebody is expected to answer"),
    }
)
SMTP = Record(
    {
        "smarthost": Key(ADDRESS, "mail server, host:port", True),
        "from": Key(EMAIL, "sender", True),
        "username": Key(LINE, "user name at the mail server"),
        "password_file": Key(SECRET, "file in secrets/ with the password"),
    },
    {"password": _literal("password_file")},
)
LEVELS = List(_number("a level", "0", "1000000000"))
PANEL = Record(
    {
        "title": Key(LINE, "heading of the panel", True),
        "description": Key(LINE, "what it shows; written for you unless given"),
        "shows": Key(SERIES_NAME, "an indicator, health_score or cost", True),
        "as": Key(Choice(("gauge", "stat", "timeseries")), "form of the panel, gauge unless said"),
        "levels": Key(LEVELS, "the two values at which the colour changes; percentages for indicators", True),
    }
)
BOARD = Record(
    {"title": Key(LINE, "heading of the board", True), "panels": Key(List(PANEL), "panels in reading order", True)}
)
DEMO = Record(
    {
        "service": Key(NAME, "the service that the demo stands in for", True),
        "seed": Key(_number("a whole number", "0", "1000000000", whole=True), "of the random traffic, 1 unless said"),
        "requests_per_second": Key(Map(NAME, _number("a rate", "0.01", "1000")), "peak by tier", True),
    }
)

TOP: dict[str, Key] = {
    "stack": Key(NAME, "name of the stack"),
    "namespace": Key(SERIES_NAME, "first part of the recorded series, the stack's name unless said"),
    "tenant_label": Key(LABEL_NAME, "label that holds the tenant, tenant_id unless said"),
    "scrape_interval": Key(Duration(1, 120), "how often metrics are read, 15s unless said"),
    "evaluation_interval": Key(Duration(1, 120), "how often rules are evaluated, 30s unless said"),
    "retention": Key(Duration(3600), "how long Prometheus keeps data, 35d unless said"),
    "shards": Key(
        _number("a number of shards", "1", "64", whole=True), "parts of each SLO evaluated side by side, 1 unless said"
    ),
    "pins": Key(Choice(("seed", "patched", "supported")), "set of image versions, seed unless said"),
    "runbook_base_url": Key(URL, "where the runbooks are published"),
    "services": Key(Map(NAME, SERVICE), "what is scraped and probed"),
    "tiers": Key(Map(NAME, TIER), "plans"),
    "tenants": Key(List(TENANT), "customers"),
    "indicators": Key(Map(SERIES_NAME, INDICATOR), "ratios per tenant"),
    "slos": Key(Map(SERIES_NAME, SLO), "objectives with error budgets"),
    "composites": Key(Map(SERIES_NAME, COMPOSITE), "several SLOs read as one"),
    "maintenance": Key(Map(NAME, MAINTENANCE), "planned windows"),
    "thresholds": Key(Map(ALERT_NAME, THRESHOLD), "alerts on an indicator or on the health score"),
    "health_score": Key(HEALTH, "one number from 0 to 100 per tenant"),
    "prices": Key(Map(SERIES_NAME, PRICE), "what usage costs"),
    "budgets": Key(BUDGET, "spend limits of every tenant"),
    "receivers": Key(Map(NAME, RECEIVER), "people and systems that get alerts"),
    "routes": Key(List(ROUTE), "who gets which alert; the first that matches wins"),
    "smtp": Key(SMTP, "the mail server"),
    "boards": Key(Map(BOARD_UID, BOARD), "dashboards"),
    "demo": Key(DEMO, "a workload of ours in place of a service"),
}

DEFINITIONS = Record(TOP)

WINDOW_TABLE = List(BURN_ROW)


def json_schema() -> JsonSchema:
    """JSON Schema (draft 2020-12) of one definition file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Reliary definitions",
        **DEFINITIONS.schema(),
    }
