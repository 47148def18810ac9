"""Many samples into a Prometheus, quickly: the remote-write protocol, encoded from arrays.

A client library would take a Python object for each of tens of millions of samples. The protocol needs two things:
protobuf fields (a number, a length, bytes) and snappy framing, which may say "all of this is literal".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import requests
from numpy.typing import NDArray

from harness.server import ANSWER_SECONDS, Server

Labels: TypeAlias = Mapping[str, str]
Floats: TypeAlias = NDArray[np.float64]

BATCH_BYTES = 8_000_000
STALE = np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0]
"""The value that ends a series: what Prometheus itself writes when a target or a rule stops giving it."""

_TIME_BYTES = 6  # a time in ms between 1971 and 2109 is a varint of six bytes
_SAMPLE_BYTES = 2 + 1 + 8 + 1 + _TIME_BYTES


def write(server: Server, series: Iterable[tuple[Labels, NDArray[np.int64], Floats]]) -> int:
    """Sends (labels with __name__, times in ms, values) and gives the number of samples."""
    url, sent, batch, size = f"{server.url}/api/v1/write", 0, [], 0
    with requests.Session() as session:
        for labels, times, values in series:
            message = _time_series(labels, times, values)
            batch.append(message)
            size, sent = size + len(message), sent + len(times)
            if size > BATCH_BYTES:
                _send(session, url, batch)
                batch, size = [], 0
        if batch:
            _send(session, url, batch)
    return sent


def _send(session: requests.Session, url: str, batch: list[bytes]) -> None:
    data = b"".join(batch)
    # Snappy: the length of all, then one literal chunk with its length less one.
    body = _varint(len(data)) + b"\xfc" + struct.pack("<I", len(data) - 1) + data
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    answer = session.post(url, data=body, headers=headers, timeout=ANSWER_SECONDS)
    if answer.status_code >= 300:
        raise RuntimeError(f"remote write: {answer.status_code} {answer.text[:300]}")


def _time_series(labels: Labels, times: NDArray[np.int64], values: Floats) -> bytes:
    """Field 1 of a write request: labels (fields 1), then samples (fields 2)."""
    pairs = b"".join(_field(1, _field(1, name.encode()) + _field(2, labels[name].encode())) for name in sorted(labels))
    return _field(1, pairs + _samples(times, values))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _samples(times: NDArray[np.int64], values: Floats) -> bytes:
    """Every sample has the same size, so all of them are one array of bytes."""
    rows = np.empty((len(times), _SAMPLE_BYTES), np.uint8)
    rows[:, 0], rows[:, 1] = 2 << 3 | 2, _SAMPLE_BYTES - 2
    rows[:, 2], rows[:, 11] = 1 << 3 | 1, 2 << 3
    rows[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    for at in range(_TIME_BYTES):
        more = 0x80 if at < _TIME_BYTES - 1 else 0
        rows[:, 12 + at] = (times >> (7 * at) & 0x7F).astype(np.uint8) | more
    return rows.tobytes()
