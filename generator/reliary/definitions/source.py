"""Bytes of a file -> text with its lines, refused before any parser sees what is too big or not text."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reliary.problems import Place, Problem

MAX_BYTES = 16 * 1024 * 1024

# What YAML does not take, instead of what it takes: large ranges are slow to compile.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


class Refused(Exception):
    """The file cannot be read as definitions. `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text. Its lines end where YAML ends them, so that line numbers agree with libyaml's.

    `text` may be a part of the file that begins at line `first`; `lines` are always all of the file.
    """

    file: str
    text: str
    lines: Sequence[str]
    first: int = 0

    def place(self, line: int, column: int, width: int = 1) -> Place:
        """Line and column count from 0 here, as parsers count."""
        line += self.first
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text, max(1, width))

    def part(self, first: int, count: int) -> Source:
        """Some lines of the file, to be parsed on their own; places are those in the file."""
        return replace(self, text="\n".join(self.lines[first : first + count]), first=first)


def decoded(file: str, raw: bytes, size: int | None = None) -> Source:
    """The text of a definition file. Raises `Refused` when it is too big, not UTF-8 or has control characters.

    `size` is the file's size in bytes where `raw` was cut off just past `MAX_BYTES`.
    """
    size = size or len(raw)
    if size > MAX_BYTES:
        message = f"the file has {size:,} bytes; definitions may have {MAX_BYTES:,}."
        raise Refused(Problem("B105", message, "Split it: all files of the folder are read together.", Place(file)))
    raw = raw.removeprefix(BOM_UTF8)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(_not_utf8(file, raw, error.start)) from None
    if found := _FORBIDDEN.search(text):
        raise Refused(_forbidden(file, text, found.start()))
    return Source(file, text, text.splitlines())


def _not_utf8(file: str, raw: bytes, at: int) -> Problem:
    start = raw.rfind(b"\n", 0, at) + 1
    before = raw[start:at].decode()
    line = before + raw[at:].split(b"\n", 1)[0][:200].decode("utf-8", "replace")
    place = Place(file, raw.count(b"\n", 0, at) + 1, len(before) + 1, line)
    message = f"the byte 0x{raw[at]:02x} is not UTF-8."
    return Problem("B103", message, "Save the file as UTF-8; it may be Latin-1 or UTF-16 now.", place)


def _forbidden(file: str, text: str, at: int) -> Problem:
    before = text[:at].splitlines(keepends=True)
    if not before or before[-1][-1] in "\n\r\x85\u2028\u2029":
        before.append("")
    column = len(before[-1])
    line = before[-1] + re.split(r"[\n\r]", text[at : at + 200], maxsplit=1)[0]
    message = f"the character U+{ord(text[at]):04X} has no place in a definition."
    advice = "Remove it; most editors can show characters that are invisible."
    if text[at] == "\0":
        advice += " If every second one is this, the file is UTF-16: save it as UTF-8."
    return Problem("B104", message, advice, Place(file, len(before), column + 1, line))
