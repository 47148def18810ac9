"""What libyaml says of a text that is not YAML -> what it most likely means, and what to do."""

from __future__ import annotations

import yaml

from reliary.definitions.source import Source
from reliary.problems import Problem

_OPEN = "an open bracket `{open}` is not closed, or a comma between two values is missing"
_QUOTES = "Put the text in single quotes: '…'"
_MEANING = {
    "mapping values are not allowed in this context": (
        "a `:` stands where no key can be",
        "Text with `: ` in it needs quotes; else check the line before and how far this one is indented.",
    ),
    "did not find expected ',' or '}'": (_OPEN.format(open="{"), "Check the commas and brackets from there on."),
    "did not find expected ',' or ']'": (_OPEN.format(open="["), "Check the commas and brackets from there on."),
    "did not find expected key": (
        "this is neither a key nor the end of the value before",
        "Check how far the line is indented, and quotes and brackets just before.",
    ),
    "did not find expected '-' indicator": (
        "a list goes on here, but this does not start with `- `",
        "Start the item with `- `, or indent the line as far as the key that it belongs to.",
    ),
    "could not find expected ':'": ("a key without `:` and a value", "Write `key: value`, or indent the line."),
    "block sequence entries are not allowed in this context": (
        "a list cannot start on the line of its key",
        "Write each `- ` on a line of its own, or the list in brackets: [a, b].",
    ),
    "found unexpected end of stream": ("a quote is opened here and never closed", "Close it on the same line."),
    "found character that cannot start any token": ("no text can start with this character", _QUOTES + "."),
    "found unknown escape character": (
        "a backslash in double quotes starts an escape, and this is none",
        _QUOTES + ", where a backslash is a backslash.",
    ),
    "found invalid Unicode character escape code": ("this escape names no character", "Write the character itself."),
    "did not find expected <document start>": (
        "text stands after the end of the document",
        "Remove the line `...` or the `%` at the start of a line.",
    ),
}


def syntax_problem(source: Source, error: yaml.MarkedYAMLError) -> Problem:
    """The problem to show for an error of libyaml: in plain words where these are known."""
    said = error.problem or "it cannot be read"
    mark = error.problem_mark or error.context_mark
    opened = error.context_mark
    if said == "found unexpected end of stream" and opened is not None:
        mark = opened
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    tab = _tab(source, line)
    if tab is not None:
        return Problem("B109", "a tab stands where YAML wants spaces.", "Indent with spaces.", source.place(line, tab))
    while line and line >= len(source.lines):
        line, column = line - 1, len(source.lines[line - 1])
    meaning, advice = _MEANING.get(said, (said, "Check the quotes, colons and indentation near here."))
    if opened is not None and opened.line < line and "bracket" in meaning:
        meaning += f"; it was opened at line {opened.line + 1}"
    return Problem("B104", f"not valid YAML: {meaning}.", advice, source.place(line, column))


def _tab(source: Source, line: int) -> int | None:
    """The column of the first tab that indents a line."""
    text = source.lines[line] if line < len(source.lines) else ""
    indent = text[: len(text) - len(text.lstrip())]
    return indent.index("\t") if "\t" in indent else None
