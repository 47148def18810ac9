"""Whether a server of the stack is ready, asked over HTTP on loopback; and how it is told to reload.

Answers are read with care: for a moment, another program may hold the port.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests

from reliary_exporter.prometheus import plain_session

__all__ = ["ReloadRefused", "reload", "scraping_trouble", "trouble"]

ANSWER_SECONDS = 3.0
RELOAD_SECONDS = 60.0
QUOTED_CHARACTERS = 300

# The first path that exists decides.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "alertmanager": ("/-/ready",),
    "blackbox": ("/-/healthy",),
    "demo": ("/health",),
    "exporter": ("/readyz", "/healthz"),
    "prometheus": ("/-/ready",),
}


class ReloadRefused(Exception):
    """A server keeps its old configuration; the message is its own, shortened."""


def trouble(part: str, url: str) -> str | None:
    """Why the server at `url` is not ready, in a few words; None when it is."""
    for path in _PATHS[part]:
        try:
            with plain_session() as session:
                answer = session.get(url + path, timeout=ANSWER_SECONDS, allow_redirects=False)
        except requests.RequestException:
            return "does not answer yet"
        if answer.status_code == requests.codes.ok:
            return None
        if answer.status_code != requests.codes.not_found:
            return _shortened(answer.text) or f"answers {answer.status_code}"
    return "is another program: it does not know our paths"


def scraping_trouble(url: str, parts: Mapping[str, str]) -> str | None:
    """What keeps a ready Prometheus from being useful: no rules, or a part not scraped.

    `parts` are their names by address (host:port).
    """
    if not _listed(url, "rules", "groups"):
        return "has no rules yet"
    troubles = {address: f"has not scraped {part} yet" for address, part in parts.items()}
    for target in _listed(url, "targets?state=active", "activeTargets"):
        match target:
            case {"scrapeUrl": str(scraped), "health": "up"}:
                troubles.pop(urlsplit(scraped).netloc, None)
            case {"scrapeUrl": str(scraped), "health": "down", "lastError": str(error)}:
                if part := parts.get(address := urlsplit(scraped).netloc):
                    troubles[address] = f"cannot scrape {part}: {_shortened(error)}"
    return next(iter(troubles.values()), None)


def _listed(url: str, path: str, key: str) -> list[object]:
    try:
        with plain_session() as session:
            answer = session.get(f"{url}/api/v1/{path}", timeout=ANSWER_SECONDS, allow_redirects=False)
        found = json.loads(answer.content)
    except (requests.RequestException, ValueError):
        return []
    match found:
        case {"data": {**data}} if isinstance(items := data.get(key), list):
            return items
    return []


def reload(url: str) -> None:
    """Makes the server at `url` read its configuration again. Raises ReloadRefused with what it said."""
    try:
        with plain_session() as session:
            answer = session.post(f"{url}/-/reload", timeout=RELOAD_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise ReloadRefused(f"no answer ({type(error).__name__})") from error
    if answer.status_code != requests.codes.ok:
        raise ReloadRefused(_shortened(answer.text) or f"answer {answer.status_code}")


def _shortened(text: str) -> str:
    return " ".join(text.split())[:QUOTED_CHARACTERS]
