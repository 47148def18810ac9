"""The HTTP server: methods, connections that are kept, and how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from reliary_exporter.server import TEXT, AnswerServer, Request, Respond, Response


def echo(request: Request) -> Response:
    return Response(HTTPStatus.OK, TEXT, f"{request.path}|{request.accept}|{request.accept_encoding}".encode())


@contextmanager
def serving(respond: Respond) -> Iterator[AnswerServer]:
    server = AnswerServer(("127.0.0.1", 0), respond)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.drain()


@pytest.fixture
def connection() -> Iterator[HTTPConnection]:
    with serving(echo) as server:
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        yield connection
        connection.close()


def test_an_answer_depends_on_the_path_without_its_query_and_on_two_headers(connection: HTTPConnection) -> None:
    connection.request("GET", "/metrics?x=1", headers={"Accept": "a", "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"/metrics|a|gzip")
    assert answer.getheader("Vary") == "Accept, Accept-Encoding"
    assert answer.getheader("Content-Type") == TEXT


def test_a_connection_is_kept_for_the_next_request(connection: HTTPConnection) -> None:
    connection.request("GET", "/1", headers={"Accept-Encoding": ""})
    connection.getresponse().read()
    kept = connection.sock
    connection.request("GET", "/2", headers={"Accept-Encoding": ""})
    assert connection.getresponse().read() == b"/2||"
    assert connection.sock is kept


def test_head_gives_the_length_and_no_body(connection: HTTPConnection) -> None:
    connection.request("HEAD", "/metrics", headers={"Accept-Encoding": ""})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Length"), answer.read()) == (200, "10", b"")
    connection.request("GET", "/next", headers={"Accept-Encoding": ""})
    assert connection.getresponse().read() == b"/next||", "no body of the first answer is in the way"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused_with_what_is_allowed(connection: HTTPConnection, method: str) -> None:
    connection.request(method, "/metrics")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_body_of_a_request_is_not_taken_for_the_next_request(connection: HTTPConnection, method: str) -> None:
    connection.request(method, "/", body=b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = connection.getresponse()
    answer.read()
    assert answer.getheader("Connection") == "close"
    assert connection.sock is None


def test_an_answer_under_way_is_finished_before_the_server_ends() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        asked.set()
        assert go_on.wait(20)
        return Response(HTTPStatus.OK, TEXT, b"whole")

    with serving(slow) as server:
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        connection.request("GET", "/")
        assert asked.wait(20)
        drained = threading.Thread(target=server.drain)
        drained.start()
        while server.socket.fileno() != -1:
            pass
        drained.join(timeout=0.2)
        assert drained.is_alive(), "it waits for the answer"
        go_on.set()
        assert connection.getresponse().read() == b"whole"
        drained.join()
        # `serving` drains again; a server that has ended is asked to end in vain.
        server.drain = lambda: None  # type: ignore[method-assign]


def test_idle_connections_do_not_hold_up_the_end() -> None:
    with serving(echo) as server:
        idle = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        idle.request("GET", "/")
        idle.getresponse().read()
        kept = idle.sock
    assert kept.recv(1) == b"", "the server has closed the connection"
    kept.close()


def test_a_server_that_has_ended_accepts_nothing() -> None:
    with serving(echo) as server:
        port = server.server_port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=20)


def test_it_listens_on_ipv6_too() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    server = AnswerServer(("::1", 0), echo)
    server.server_close()
    assert server.server_port > 0
