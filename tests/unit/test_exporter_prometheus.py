"""The Prometheus client: what it takes for an answer, what it refuses, and how long it tries."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator

import pytest
import requests

from reliary_exporter.prometheus import BadAnswer, PrometheusClient, Sample, Unreachable
from unit.test_exporter_fakes import FakePrometheus, Reply, fake_prometheus, series, vector


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    with fake_prometheus() as server:
        yield server


@pytest.fixture
def client(server: FakePrometheus) -> Iterator[PrometheusClient]:
    client = PrometheusClient(server.url, within_seconds=4.0, limit_bytes=2000)
    yield client
    client.close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_vector_becomes_one_sample_per_series(server: FakePrometheus, client: PrometheusClient) -> None:
    server.answer = lambda path, query: Reply(vector(series("0.5", tenant="b", job="x"), series("+Inf", tenant="a")))
    assert client.instant('up{job="ä"}') == (
        Sample((("job", "x"), ("tenant", "b")), 0.5),
        Sample((("tenant", "a"),), float("inf")),
    )
    assert server.asked == [("/api/v1/query", 'up{job="ä"}')]


def test_a_scalar_becomes_a_sample_without_labels(server: FakePrometheus, client: PrometheusClient) -> None:
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1, "42"]}}
    server.answer = lambda path, query: Reply(json.dumps(scalar).encode())
    assert client.instant("42") == (Sample((), 42.0),)


def test_nan_and_native_histograms_are_no_values(server: FakePrometheus, client: PrometheusClient) -> None:
    histogram = {"metric": {"tenant": "h"}, "histogram": [1, {"count": "1"}]}
    server.answer = lambda path, query: Reply(vector(series("NaN", tenant="a"), histogram, series("1", tenant="b")))
    assert [sample.label("tenant") for sample in client.instant("x")] == ["b"]


def test_no_series_are_an_answer(client: PrometheusClient) -> None:
    assert client.instant("absent_metric") == ()


def test_an_absent_label_reads_as_the_empty_text() -> None:
    assert Sample((("tenant", "a"),), 1.0).label("component") == ""


def test_a_path_prefix_of_the_server_is_kept(server: FakePrometheus) -> None:
    PrometheusClient(server.url + "/prom/").instant("up")
    assert server.asked == [("/prom/api/v1/query", "up")]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>please log in</html>"),
        Reply(b"\xff\xfe"),
        Reply(b"[" * 1500),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b'{"status": "success"}'),
        Reply(b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'),
        Reply(b'{"status": "success", "data": {"resultType": "vector", "result": {}}}'),
        Reply(vector().replace(b'"success"', b'"error"')),
        Reply(vector(series("1", tenant="a")).replace(b"a", b"\xed\xa0\x80")),
        Reply(vector("series")),
        Reply(vector({"metric": {}})),
        Reply(vector({"metric": [], "value": [1, "1"]})),
        Reply(vector({"metric": {}, "value": [1, 1]})),
        Reply(vector({"metric": {}, "value": ["1"]})),
        Reply(vector(series("one", tenant="a"))),
        Reply(vector(series("1", tenant=7))),
        Reply(vector(series("1", tenant="\ud800"))),
        Reply(vector(), status=404),
        Reply(b"", status=302, headers={"Location": "/elsewhere"}),
        Reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda reply: f"{reply.status} {reply.body[-40:]!r}",
)
def test_what_is_no_answer_of_prometheus_is_a_bad_answer(
    server: FakePrometheus, client: PrometheusClient, reply: Reply
) -> None:
    server.answer = lambda path, query: reply
    with pytest.raises(BadAnswer):
        client.instant("up")
    assert len(server.asked) == 1, "a bad answer stays one, it is not asked for again"


def test_a_refused_query_says_what_prometheus_said_in_one_line(
    server: FakePrometheus, client: PrometheusClient
) -> None:
    complaint = json.dumps({"status": "error", "error": "1:3: parse error:\nunexpected <eof>"}).encode()
    server.answer = lambda path, query: Reply(complaint, status=400)
    with pytest.raises(BadAnswer, match=r"HTTP 400\): 1:3: parse error: unexpected <eof>$"):
        client.instant("up{")


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_above_the_limit_is_refused_whatever_it_is_packed_in(
    server: FakePrometheus, client: PrometheusClient, packed: bool
) -> None:
    body = vector(*(series("1", tenant=f"tenant-{number}") for number in range(500)))
    reply = Reply(gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else Reply(body)
    server.answer = lambda path, query: reply
    with pytest.raises(BadAnswer, match="more than 2000 bytes"):
        client.instant("up")


def test_a_server_that_cannot_answer_now_is_asked_again(server: FakePrometheus, client: PrometheusClient) -> None:
    replies = iter([Reply(status=503), Reply(status=500), Reply(vector(series("1", tenant="a")))])
    server.answer = lambda path, query: next(replies)
    assert len(client.instant("up")) == 1


def test_a_server_that_never_can_is_unreachable_after_three_attempts(
    server: FakePrometheus, client: PrometheusClient
) -> None:
    server.answer = lambda path, query: Reply(status=503)
    with pytest.raises(Unreachable, match=r"cannot answer now \(HTTP 503\)"):
        client.instant("up")
    assert len(server.asked) == 3


def test_the_server_does_not_decide_how_long_we_wait(server: FakePrometheus, client: PrometheusClient) -> None:
    replies = iter([Reply(status=503, headers={"Retry-After": "15"}), Reply(vector())])
    server.answer = lambda path, query: next(replies)
    waited: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", waited.append)
        client.instant("up")
    assert 15 not in waited


def test_a_slow_query_is_unreachable_and_not_asked_twice(server: FakePrometheus) -> None:
    server.answer = lambda path, query: Reply(vector(), delay_seconds=1.0)
    with pytest.raises(Unreachable, match="timed out"):
        PrometheusClient(server.url, within_seconds=1.0).instant("up")
    assert len(server.asked) == 1


def test_an_answer_that_trickles_ends_with_the_time_for_it(server: FakePrometheus) -> None:
    server.answer = lambda path, query: Reply(b" ", trickle=True)
    with pytest.raises(Unreachable, match=r"did not finish its answer within 0\.5 s"):
        PrometheusClient(server.url, within_seconds=0.5).instant("up")


def test_nobody_there_is_unreachable_with_the_cause_and_without_the_password() -> None:
    client = PrometheusClient(f"http://user:secret@127.0.0.1:{closed_port()}", within_seconds=2.0)
    with pytest.raises(Unreachable, match=r"^http://127\.0\.0\.1:\d+ did not answer \(Connection refused\)$"):
        client.instant("up")


def test_proxies_of_the_environment_are_not_used(
    server: FakePrometheus, client: PrometheusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert client.instant("up") == ()


def test_the_session_may_bring_credentials(server: FakePrometheus) -> None:
    def with_password() -> requests.Session:
        session = requests.Session()
        session.auth = ("reader", "secret")
        return session

    PrometheusClient(server.url, session=with_password).instant("up")
    PrometheusClient(server.url).instant("up")
    assert server.authorizations == ["Basic cmVhZGVyOnNlY3JldA==", None]


def test_ready_is_what_the_server_says(server: FakePrometheus, client: PrometheusClient) -> None:
    server.answer = lambda path, query: Reply(b"Prometheus Server is Ready.\n")
    assert client.ready()
    server.answer = lambda path, query: Reply(status=503)
    assert not client.ready()
    assert {path for path, _ in server.asked} == {"/-/ready"}


def test_nobody_there_is_not_ready() -> None:
    assert not PrometheusClient(f"http://127.0.0.1:{closed_port()}", within_seconds=1.0).ready()
