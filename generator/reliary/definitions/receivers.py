"""Who gets an alert: receivers, routes and the mail server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias, cast

from reliary.definitions.alerts import scope
from reliary.definitions.root import Root
from reliary.definitions.shapes import Fields
from reliary.model import Channel, Email, Kind, PagerDuty, Receiver, Route, Severity, Slack, Smtp, Webhook
from reliary.problems import Place

NOBODY = "nobody"
"""The receiver that Alertmanager's configuration has for the watchdog."""

# Whoever knows these URLs can send: they are secrets.
_SECRET_URLS = ("https://hooks.slack.com/", "https://discord.com/api/webhooks/", "https://events.pagerduty.com/")

_Wanted: TypeAlias = tuple[str | None, str | None, str]


def receivers(root: Root) -> tuple[Receiver, ...]:
    """The receivers that could be read, with a warning for those that no route leads to."""
    found = tuple(_receiver(root, *record) for record in root.records("receivers"))
    targets = {item.value.maybe("to", str) for item in root.fields.items("routes", Fields)}
    # A route with a name that nobody has is told elsewhere; the receiver that it means is not unused.
    if root.readable("routes") and root.fields.has("routes") and targets <= (root.names("receivers") or set()):
        for name, place, _ in root.records("receivers"):
            if name not in targets:
                root.faults.warn(
                    "B128", place, f"no route leads to the receiver `{name}`.", "Add a route, or remove it."
                )
    return found


def _receiver(root: Root, name: str, place: Place, row: Fields) -> Receiver:
    channels = tuple(_channels(root, row))
    if name == NOBODY:
        message = "`nobody` is the stack's own receiver, for alerts that only prove that alerting works."
        root.faults.add("B117", place, message, "Choose another name.")
    if not channels:
        message = f"the receiver `{name}` reaches nobody."
        root.faults.add("B112", place, message, "Give it pagerduty, slack, email or webhook.")
    if row.has("email") and root.complete and not root.fields.has("smtp"):
        root.faults.add("B112", row.at("email"), "there is no mail server to send this with.", "Define `smtp`.")
    return Receiver(name, channels)


def _channels(root: Root, row: Fields) -> Iterator[Channel]:
    if pagerduty := row.maybe("pagerduty", Fields):
        yield PagerDuty(pagerduty.get("routing_key_file", str))
    if slack := row.maybe("slack", Fields):
        yield Slack(slack.get("channel", str), slack.get("url_file", str))
    if row.has("email"):
        yield Email(tuple(item.value for item in row.items("email", str)))
    if url := row.maybe("webhook", str):
        if url.startswith(_SECRET_URLS):
            place = row.at("webhook").cut(row.at("webhook").column - 1)
            message = "a secret does not belong into a definition: whoever knows this URL can send."
            advice = "Put it into a file in secrets/ and use `slack` with `url_file`, or `pagerduty`."
            root.faults.add("B127", place, message, advice)
        yield Webhook(url)


# -- routes


def routes(root: Root) -> tuple[Route, ...]:
    """The routes in their order: each is reached by some alert, and the last takes all that are left."""
    found: list[tuple[Route, Fields]] = []
    receivers = root.names("receivers")
    for item in root.fields.items("routes", Fields):
        if item.value.whole:
            root.known(item.value.get("to", str), receivers, "receiver", item.value.at("to"))
            found.append((_route(root, item.value), item.value))
    if root.fields.has("routes") and "routes" not in root.fields.faulty:
        _reached(root, found)
    return tuple(route for route, _ in found)


def _route(root: Root, row: Fields) -> Route:
    return Route(
        row.get("to", str),
        cast("Severity | None", row.maybe("severity", str)),
        cast("Kind | None", row.maybe("kind", str)),
        scope(root, row),
        row.maybe("within", int),
    )


def _reached(root: Root, found: list[tuple[Route, Fields]]) -> None:
    first: dict[_Wanted, Place] = {}
    for number, (route, row) in enumerate(found, start=1):
        if route.catches_all and number < len(found):
            message = "this route takes every alert, so the routes after it are never reached."
            root.faults.add("B126", row.place, message, "Move it to the end.")
            return
        if (by := _taken(route, first)) is not None:
            message = f"the route at {by} takes every alert that this one asks for, so it is never reached."
            root.faults.add("B126", row.place, message, "Move it before that one, or remove it.")
        first.setdefault((route.severity, route.kind, route.scope), row.place)
    if found and not found[-1][0].catches_all:
        message = "the last route does not take every alert, so some would reach nobody."
        root.faults.add("B126", found[-1][1].place, message, "End with a route that has `to` and no condition.")


def _taken(route: Route, first: dict[_Wanted, Place]) -> Place | None:
    """The place of an earlier route that asks for the same or for less."""
    wider = product({route.severity, None}, {route.kind, None}, {route.scope, "all"})
    places = [first[wanted] for wanted in wider if wanted in first]
    return min(places, key=lambda place: (place.line, place.column), default=None)


def mail_server(root: Root) -> Smtp | None:
    """The mail server, None when the definitions have none or it could not be read."""
    row = root.fields.maybe("smtp", Fields)
    if row is None or not row.whole:
        return None
    return Smtp(
        row.get("smarthost", str), row.get("from", str), row.maybe("username", str), row.maybe("password_file", str)
    )
