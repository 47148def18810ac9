"""Whether a server is ready, with fake servers that answer well, badly, or as somebody else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reliary_stack.engines.readiness import ReloadRefused, reload, scraping_trouble, trouble

Answers = dict[str, tuple[int, str]]
Serve = Callable[[Answers], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves status and body by path, 404 elsewhere, and gives the address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path.partition("?")[0], (404, "not found"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Keeps the test's output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


class TestTrouble:
    @pytest.mark.parametrize(
        ("part", "path"),
        [
            ("prometheus", "/-/ready"),
            ("alertmanager", "/-/ready"),
            ("blackbox", "/-/healthy"),
            ("exporter", "/readyz"),
            ("demo", "/health"),
        ],
    )
    def test_is_none_when_the_part_says_ok(self, serve: Serve, part: str, path: str) -> None:
        assert trouble(part, serve({path: (200, "ok")})) is None

    def test_is_silence(self, nobody: str) -> None:
        assert trouble("prometheus", nobody) == "does not answer yet"

    def test_is_what_the_part_says(self, serve: Serve) -> None:
        assert trouble("prometheus", serve({"/-/ready": (503, "Service\nUnavailable")})) == "Service Unavailable"
        assert trouble("prometheus", serve({"/-/ready": (503, "")})) == "answers 503"

    def test_is_another_program_on_the_port(self, serve: Serve) -> None:
        assert "another program" in str(trouble("prometheus", serve({})))

    def test_an_exporter_without_readiness_only_has_to_live(self, serve: Serve) -> None:
        assert trouble("exporter", serve({"/healthz": (200, "alive")})) is None
        assert trouble("exporter", serve({"/healthz": (200, "alive"), "/readyz": (503, "not ready")})) == "not ready"

    def test_follows_no_redirect(self, serve: Serve) -> None:
        assert trouble("demo", serve({"/health": (302, "")})) == "answers 302"

    def test_ignores_proxies(self, serve: Serve, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", nobody)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert trouble("demo", serve({"/health": (200, "ok")})) is None


RULES = json.dumps({"data": {"groups": [{"name": "g"}]}})
PARTS = {"127.0.0.1:1": "exporter", "127.0.0.1:2": "demo"}


def targets(**health: str) -> str:
    ports = {"exporter": 1, "demo": 2}
    active = [
        {"scrapeUrl": f"http://127.0.0.1:{ports[part]}/metrics", "health": state, "lastError": "refused"}
        for part, state in health.items()
    ]
    return json.dumps({"data": {"activeTargets": active}})


class TestScrapingTrouble:
    @pytest.mark.parametrize(
        ("rules", "active", "expected"),
        [
            pytest.param(RULES, targets(exporter="up", demo="up"), None, id="all is well"),
            pytest.param(RULES, targets(exporter="up", demo="unknown"), "has not scraped demo yet", id="not yet"),
            pytest.param(RULES, targets(exporter="up"), "has not scraped demo yet", id="not even known"),
            pytest.param(RULES, targets(exporter="down", demo="up"), "cannot scrape exporter: refused", id="down"),
            pytest.param('{"data": {"groups": []}}', targets(), "has no rules yet", id="no rules"),
            pytest.param("<html>login</html>", targets(), "has no rules yet", id="no JSON"),
            pytest.param("[[[]]]", targets(), "has no rules yet", id="another JSON"),
            pytest.param(
                RULES, '{"data": {"activeTargets": [1, {"health": 2}]}}', "has not scraped exporter yet", id="odd"
            ),
        ],
    )
    def test_is_the_first_that_is_found(self, serve: Serve, rules: str, active: str, expected: str | None) -> None:
        url = serve({"/api/v1/rules": (200, rules), "/api/v1/targets": (200, active)})
        assert scraping_trouble(url, PARTS) == expected

    def test_of_strangers_is_none_of_ours(self, serve: Serve) -> None:
        url = serve({"/api/v1/rules": (200, RULES), "/api/v1/targets": (200, targets(demo="down"))})
        assert scraping_trouble(url, {}) is None


class TestReload:
    def test_is_silent_when_it_worked(self, serve: Serve) -> None:
        reload(serve({"/-/reload": (200, "")}))

    def test_says_why_it_was_refused(self, serve: Serve) -> None:
        with pytest.raises(ReloadRefused, match="failed to reload config: line 3"):
            reload(serve({"/-/reload": (500, "failed to reload config:\n line 3")}))

    def test_says_when_nobody_is_there(self, nobody: str) -> None:
        with pytest.raises(ReloadRefused, match="no answer"):
            reload(nobody)
