"""Read access to a Prometheus server: instant queries and readiness, with limits on time and size.

Whatever answers is not trusted: it may be a proxy's login page, half an answer, or another program on that port.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from reliary.artifacts import Labels

ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0

# urllib3 warns of every attempt that fails; what became of all of them together is what we raise.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

_RETRIES = 2
_CHUNK_BYTES = 64 * 1024


class PrometheusError(Exception):
    """A query has no answer that can be used. The message is one line and names the server."""


class Unreachable(PrometheusError):
    """Nobody answered in time, or the server said that it cannot answer now (5xx). Trying later may help."""


class BadAnswer(PrometheusError):
    """Something answered, but not a Prometheus that accepts this query. Trying again will not help."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant answer; the value is never NaN."""

    labels: Labels
    value: float

    def label(self, name: str) -> str:
        """The label's value, or the empty text: to Prometheus an absent label and an empty one are the same."""
        return dict(self.labels).get(name, "")


def plain_session() -> requests.Session:
    """A session that ignores proxy variables and .netrc: a sidecar talks to its neighbour, with nobody's password."""
    session = requests.Session()
    session.trust_env = False
    return session


class PrometheusClient:
    """Answers from one Prometheus server. Not to be shared between threads, because the session is not.

    `base_url` is the server's address with its path prefix, if any. `within_seconds` bounds one query, with its
    retries and pauses, however short that is; from 25 s on, the timeouts are 2 s to connect and 5 s to read. The
    session factory is the place for credentials and certificates.
    """

    def __init__(
        self,
        base_url: str,
        *,
        within_seconds: float = 30.0,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
        session: Callable[[], requests.Session] = plain_session,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._within_seconds = within_seconds
        self._limit_bytes = limit_bytes
        # Three attempts of (0.08 + 0.22) x within, and the pauses of `_retry`, stay below within.
        self._timeout = (min(CONNECT_SECONDS, 0.08 * within_seconds), min(READ_SECONDS, 0.22 * within_seconds))
        self._session = session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=_retry(within_seconds)))

    def instant(self, query: str) -> tuple[Sample, ...]:
        """The series that the query has now, of a vector or of a scalar; empty when there are none.

        Series whose value is NaN, or a native histogram, are left out. Raises Unreachable or BadAnswer.
        """
        status, body = self._get("/api/v1/query", {"query": query})
        return _samples(self._answer(status, body))

    def ready(self) -> bool:
        """Whether the server says that it serves traffic; False when nobody answers."""
        try:
            status, _ = self._get("/-/ready", {})
        except PrometheusError:
            return False
        return status == HTTPStatus.OK

    def close(self) -> None:
        self._session.close()

    @property
    def _shown(self) -> str:
        """The address without the user and password that may be in it."""
        scheme, _, rest = self._base_url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def _get(self, path: str, parameters: dict[str, str]) -> tuple[int, bytes]:
        try:
            # A redirect would lead a sidecar to wherever the other side likes.
            with self._session.get(
                self._base_url + path,
                params=parameters,
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                return response.status_code, self._body(response)
        except requests.exceptions.ContentDecodingError as error:
            raise BadAnswer(f"{self._shown} sent an answer that cannot be unpacked") from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{self._shown} did not answer ({_cause(error)})") from error

    def _body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self._within_seconds
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._limit_bytes:
                raise BadAnswer(f"{self._shown} sent an answer of more than {self._limit_bytes} bytes")
            # The read timeout bounds the silence between two packets, not an answer that trickles.
            if time.monotonic() > deadline:
                raise Unreachable(f"{self._shown} did not finish its answer within {self._within_seconds:g} s")
        return bytes(body)

    def _answer(self, status: int, body: bytes) -> object:
        if status >= 500:
            raise Unreachable(f"{self._shown} cannot answer now (HTTP {status})")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"{self._shown} sent no JSON (HTTP {status}): is this a Prometheus?") from error
        if status != HTTPStatus.OK or not isinstance(answer, dict) or answer.get("status") != "success":
            raise BadAnswer(f"{self._shown} refused the query (HTTP {status}): {_complaint(answer)}")
        return answer.get("data")


def _retry(within_seconds: float) -> Retry:
    """Again after refused connections and 5xx, never after a read timeout: a slow query must not be asked twice.

    The pauses sum to 0.06 x within at most. A server's Retry-After is ignored, it could be an hour.
    """
    unit = min(0.2, within_seconds / 50)
    return Retry(
        total=_RETRIES,
        read=0,
        other=0,
        redirect=0,
        status_forcelist=range(500, 600),
        allowed_methods=["GET"],
        backoff_factor=unit,
        backoff_jitter=unit,
        raise_on_status=False,
        respect_retry_after_header=False,
    )


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line: the outer ones of requests and urllib3 only repeat the address."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return _one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _complaint(answer: object) -> str:
    text = str(answer.get("error", "no reason given")) if isinstance(answer, dict) else "not an object"
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _samples(data: object) -> tuple[Sample, ...]:
    match data:
        case {"resultType": "vector", "result": list(series)}:
            found = [_sample(one) for one in series]
        case {"resultType": "scalar", "result": list(pair)}:
            found = [_sample({"metric": {}, "value": pair})]
        case _:
            raise BadAnswer("the answer is neither a vector nor a scalar: the query must give one value per series")
    return tuple(sample for sample in found if sample is not None)


def _sample(series: object) -> Sample | None:
    match series:
        case {"metric": dict(labels), "value": [int() | float(), str(text)]}:
            value = _number(text)
        case {"metric": dict(labels), "histogram": _}:
            return None
        case _:
            raise BadAnswer("a series of the answer has no labels or no value")
    try:
        # JSON may spell half a character (\ud800), which no exposition can carry.
        "".join(labels.values()).encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise BadAnswer("a series of the answer has a label that is no text") from error
    return None if math.isnan(value) else Sample(tuple(sorted(labels.items())), value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadAnswer(f"{text[:40]!r} in the answer is no number") from error
