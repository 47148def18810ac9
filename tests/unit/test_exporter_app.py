"""The running exporter: its endpoints, a Prometheus that goes away, and a configuration that changes."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from reliary.exporterfile import ExporterConfig, ExporterFileError, to_text
from reliary_exporter import app
from reliary_exporter.app import Exporter
from unit.test_exporter_fakes import FakePrometheus, Reply, config, eventually, fake_prometheus


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Running:
    """An exporter that asks once an hour by itself, so that tests decide when the next round is."""

    exporter: Exporter
    clock: Clock
    prometheus: FakePrometheus
    path: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.exporter.port, timeout=20)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            packed = answer.getheader("Content-Encoding") == "gzip"
            return answer.status, (gzip.decompress(body) if packed else body).decode()
        finally:
            connection.close()

    def metrics(self) -> str:
        return self.get("/metrics")[1]

    def write(self, changed: ExporterConfig) -> None:
        self.path.write_text(to_text(changed))

    def config(self, **changes: object) -> ExporterConfig:
        return config(prometheus_url=self.prometheus.url, **changes)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    path, clock = tmp_path / "exporter.json", Clock()
    with fake_prometheus() as prometheus:
        prometheus.gives(health="87.5", cache="90", quality="80", speed="95", cost="50")
        path.write_text(to_text(config(prometheus_url=prometheus.url)))
        with Exporter(path, ("127.0.0.1", 0), clock=clock) as exporter:
            running = Running(exporter, clock, prometheus, path)
            assert eventually(lambda: running.get("/readyz")[0] == 200), "the first round comes by itself"
            yield running


HEALTH = 'reliary_health_score{profile="rag",tenant_id="acme"}'


def test_it_is_ready_after_its_first_round_and_publishes_what_prometheus_said(running: Running) -> None:
    assert running.get("/readyz") == (200, "ready\n")
    assert f"{HEALTH} 87.5\n" in running.metrics()
    assert 'reliary_cost_budget_used_ratio{tenant_id="acme"} 0.25\n' in running.metrics()


def test_it_lives_but_is_not_ready_while_prometheus_was_never_there(tmp_path: Path) -> None:
    path = tmp_path / "exporter.json"
    path.write_text(to_text(config(prometheus_url="http://127.0.0.1:9")))
    with Exporter(path, ("127.0.0.1", 0)) as exporter, fake_prometheus() as nobody:
        running = Running(exporter, Clock(), nobody, path)
        assert eventually(lambda: "Connection refused" in running.get("/readyz")[1])
        assert running.get("/healthz") == (200, "alive\n")
        status, reason = running.get("/readyz")
        assert status == 503
        assert reason == (
            "not ready: no refresh has succeeded yet; http://127.0.0.1:9 did not answer (Connection refused)\n"
        )
        assert "reliary_build_info{" in running.metrics()
        assert 'reliary_refresh_errors_total{reason="unreachable"} 1.0\n' in running.metrics()


def test_values_go_absent_when_they_are_stale_although_no_further_round_succeeds_or_even_runs(running: Running) -> None:
    running.clock.now += running.config().stale_seconds - 1
    assert running.get("/readyz")[0] == 200
    assert HEALTH in running.metrics()
    running.clock.now += 1
    assert eventually(lambda: HEALTH not in running.metrics())
    assert running.get("/readyz")[0] == 503
    assert "reliary_cost_estimated_usd" not in running.metrics()
    assert "reliary_build_info{" in running.metrics()
    assert "reliary_tenant_info{" in running.metrics()


def test_it_shows_the_last_values_until_then_and_recovers_by_itself(running: Running) -> None:
    running.prometheus.answer = lambda path, query: Reply(status=503)
    running.exporter.refresh()
    assert HEALTH in running.metrics()
    running.clock.now += running.config().stale_seconds
    running.exporter.refresh()
    assert HEALTH not in running.metrics()
    status, reason = running.get("/readyz")
    assert status == 503
    assert "the last good refresh is 10800 s old, the limit is 10800 s; " in reason
    assert reason.count("\n") == 1
    running.prometheus.gives(health="12.5", cache="90", quality="80", speed="95")
    running.exporter.refresh()
    assert f"{HEALTH} 12.5\n" in running.metrics()
    assert running.get("/readyz") == (200, "ready\n")


def test_an_answer_that_makes_no_sense_is_counted_and_said(running: Running) -> None:
    running.prometheus.answer = lambda path, query: Reply(b"<html>")
    running.clock.now += running.config().stale_seconds
    running.exporter.refresh()
    assert 'reliary_refresh_errors_total{reason="bad_answer"} 3.0\n' in running.metrics()
    assert "sent no JSON" in running.get("/readyz")[1]


def test_a_reason_that_quotes_half_a_character_can_still_be_sent(running: Running) -> None:
    complaint = b'{"status": "error", "error": "broken \\ud800"}'
    running.prometheus.answer = lambda path, query: Reply(complaint, status=400)
    running.clock.now += running.config().stale_seconds
    running.exporter.refresh()
    assert running.get("/readyz")[1].endswith("refused the query (HTTP 400): broken ?\n")


def test_a_new_release_is_applied_at_the_next_round(running: Running) -> None:
    running.write(running.config(release="sha256:5678", tenants=()))
    running.exporter.refresh()
    assert 'release="sha256:5678"' in running.metrics()
    assert 'release="sha256:1234"' not in running.metrics()
    assert "reliary_tenant_info" not in running.metrics()
    assert HEALTH in running.metrics()


def test_a_release_is_applied_once_and_its_values_are_kept_from_then_on(running: Running) -> None:
    running.write(running.config(release="sha256:5678"))
    running.exporter.refresh()
    running.prometheus.answer = lambda path, query: Reply(status=503)
    running.exporter.refresh()
    assert HEALTH in running.metrics()


def test_a_new_release_may_name_another_prometheus(running: Running) -> None:
    with fake_prometheus() as other:
        other.gives(health="1.5", cache="1", quality="1")
        running.write(config(prometheus_url=other.url))
        running.exporter.refresh()
        assert f"{HEALTH} 1.5\n" in running.metrics()


def test_values_of_one_release_are_not_shown_under_the_next(running: Running) -> None:
    running.prometheus.answer = lambda path, query: Reply(status=503)
    running.write(running.config(release="sha256:5678"))
    running.exporter.refresh()
    assert 'release="sha256:5678"' in running.metrics()
    assert HEALTH not in running.metrics()
    assert "no refresh has succeeded yet" in running.get("/readyz")[1]


@pytest.mark.parametrize("content", [b"{", b"\xff", None], ids=["no JSON", "no UTF-8", "gone"])
def test_a_broken_configuration_is_counted_while_the_last_good_one_stays_in_force(
    running: Running, content: bytes | None
) -> None:
    if content is None:
        running.path.unlink()
    else:
        running.path.write_bytes(content)
    running.exporter.refresh()
    assert 'reliary_refresh_errors_total{reason="config"} 1.0\n' in running.metrics()
    assert 'release="sha256:1234"' in running.metrics()
    assert HEALTH in running.metrics()
    assert running.get("/readyz")[0] == 200
    running.write(running.config(release="sha256:5678"))
    running.exporter.refresh()
    assert 'release="sha256:5678"' in running.metrics()
    assert 'reliary_refresh_errors_total{reason="config"} 1.0\n' in running.metrics()


def test_a_scrape_is_packed_and_in_openmetrics_if_the_scraper_wants_it(running: Running) -> None:
    _, text = running.get("/metrics", Accept="application/openmetrics-text;version=1.0.0", Accept_Encoding="gzip")
    assert text.endswith("# EOF\n")


def test_scrapes_do_not_ask_prometheus(running: Running) -> None:
    before = len(running.prometheus.asked)
    for _ in range(5):
        running.metrics()
    assert len(running.prometheus.asked) == before


def test_a_scrape_sees_one_whole_round(running: Running) -> None:
    running.prometheus.gives(health="1.5", cache="1", quality="1", speed="1")
    assert f"{HEALTH} 87.5\n" in running.metrics(), "the page stays as it is until the round is complete"
    running.exporter.refresh()
    assert f"{HEALTH} 1.5\n" in running.metrics()


@pytest.mark.parametrize("link", ["/metrics", "/healthz", "/readyz"])
def test_the_index_links_to_pages_that_exist(running: Running, link: str) -> None:
    status, page = running.get("/")
    assert (status, f'href="{link}"' in page) == (200, True)
    assert running.get(link)[0] == 200


def test_what_is_not_there_is_not_found(running: Running) -> None:
    assert running.get("/metricsx")[0] == 404
    assert running.get("/metrics", method="POST")[0] == 405
    assert running.get("/metrics", method="HEAD") == (200, "")


def test_it_does_not_start_with_a_configuration_that_it_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "exporter.json"
    with pytest.raises(FileNotFoundError):
        Exporter(path, ("127.0.0.1", 0))
    path.write_text("{}")
    with pytest.raises(ExporterFileError):
        Exporter(path, ("127.0.0.1", 0))


def test_waiting_ends_when_it_is_stopped(running: Running) -> None:
    running.exporter.stop()
    running.exporter.wait()


def test_an_exporter_that_lost_one_of_its_threads_does_not_look_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(app, "refreshed", broken)
    path = tmp_path / "exporter.json"
    path.write_text(to_text(config()))
    with Exporter(path, ("127.0.0.1", 0)) as exporter:
        give_up = threading.Timer(20, exporter.stop)
        give_up.start()
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            exporter.wait()
        give_up.cancel()


def test_faults_are_logged_when_they_begin_and_not_again_each_round(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.prometheus.answer = lambda path, query: Reply(status=503)
    for _ in range(3):
        running.exporter.refresh()
    assert [record.levelname for record in caplog.records if record.name == "reliary_exporter.app"] == ["WARNING"]


def test_the_sidecar_does_not_import_what_only_the_other_parts_need() -> None:
    heavy = "{'rich', 'click', 'docker', 'prophet', 'numpy', 'grafanalib', 'yaml', 'jinja2'}"
    code = f"import sys, reliary_exporter.app; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
