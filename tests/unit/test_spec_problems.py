"""How problems are shown: to people with the fault underlined, to machines, to a pull request."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliary.problems import TEXT_LIMIT, Place, Problem, Severity, as_github, as_json, as_text, exit_code, ordered

ANY = st.text(st.characters())


def shown(text: str, column: int, width: int) -> tuple[str, str]:
    """The line of the excerpt and its carets."""
    lines = as_text([Problem("B100", "m", "a", Place("f.yml", 1, column, text, width))]).split("\n")
    return lines[1].removeprefix("     1 | "), lines[2].removeprefix("       | ")


def test_the_fault_is_underlined() -> None:
    assert shown("stack: shop", 8, 4) == ("stack: shop", "       ^^^^")


def test_a_value_that_is_missing_is_marked_where_it_belongs() -> None:
    assert shown("stack:", 7, 0) == ("stack:", "      ^")


def test_characters_of_two_columns_and_of_none_do_not_shift_the_carets() -> None:
    assert shown("火箭: acme", 5, 4) == ("火箭: acme", "      ^^^^")
    assert shown("e\u0301: acme", 5, 4) == ("e\u0301: acme", "   ^^^^")
    assert shown("a: 🚀", 4, 1) == ("a: 🚀", "   ^^")


def test_what_cannot_be_seen_is_shown_as_an_escape_and_underlined_as_wide() -> None:
    assert shown("a: \x1b[31m\t", 4, 1) == ("a: \\x1b[31m\\t", "   ^^^^")
    assert shown("\ta: b", 5, 1) == ("\\ta: b", "     ^")
    assert shown("a: x\u202ey", 5, 2) == ("a: x\\u202ey", "    ^^^^^^^")


def test_of_a_long_line_the_part_around_the_fault_is_shown() -> None:
    line, carets = shown("x" * 5000 + "FAULT" + "y" * 5000, 5001, 5)
    assert line[carets.index("^") : carets.rindex("^") + 1] == "FAULT"
    assert len(line) < 160
    assert line[0] == line[-1] == "…"


@given(ANY, st.integers(1, 400), st.integers(0, 400))
def test_an_excerpt_is_always_two_short_lines_that_can_be_printed(text: str, column: int, width: int) -> None:
    text = " ".join(text.splitlines())
    column = min(column, len(text) + 1)
    report = as_text([Problem("B100", "m", "a", Place("f.yml", 7, column, text, width))])
    assert report.replace("\n", "").isprintable()
    assert report.count("\n") in (2, 4)
    assert report.encode()


@given(ANY, ANY, ANY)
def test_no_text_steers_a_terminal_or_adds_a_command(file: str, message: str, advice: str) -> None:
    problem = Problem("B100", message, advice, Place(file, 1, 1))
    github = as_github([problem])
    for report in (as_text([problem]).replace("\n", ""), as_json([problem]).replace("\n", ""), github[:-1]):
        assert report.isprintable()
    assert github.startswith("::error file=")
    assert github.count("::") >= 2
    assert ",line=1,col=1,title=B100::" in github


def test_github_reads_back_what_was_written() -> None:
    (line,) = as_github([Problem("B1,00", "50 %\n%0A::error::x", "a", Place("a:b,%0A.yml", 2, 3))]).splitlines()
    assert line == "::error file=a%3Ab%2C%250A.yml,line=2,col=3,title=B1%2C00::50 %25\\n%250A::error::x a"


@given(ANY)
def test_json_gives_back_every_text(text: str) -> None:
    rows = json.loads(as_json([Problem("B100", text, text, Place(text))]))["problems"]
    assert rows[0]["message"] == rows[0]["advice"] == rows[0]["file"] == text


def test_a_secret_is_cut_off_and_the_rest_is_underlined() -> None:
    text = "url: https://x/secret"
    assert Place("f", 1, 6, text, 16).cut(5) == Place("f", 1, 6, "url: …", 1)
    assert Place("f", 1, 1, text, 3).cut(3) == Place("f", 1, 1, "url…", 3)


def many(number: int, severity: Severity = Severity.ERROR, code: str = "B110") -> list[Problem]:
    return [Problem(code, f"m{n}", "a", Place("f", n + 1, 1), severity) for n in range(number)]


def test_a_report_has_an_end() -> None:
    assert "more" not in as_text(many(TEXT_LIMIT))
    report = as_text(many(TEXT_LIMIT + 1950))
    assert report.count("B110  ") == TEXT_LIMIT
    assert "… and 1,950 more problems (1,950 of B110)." in report
    assert "… and 1 more problem (1 of B110)." in as_text(many(TEXT_LIMIT + 1))


def test_errors_are_not_hidden_behind_warnings() -> None:
    report = as_text([*many(200, Severity.WARNING, "B128"), *many(1)])
    assert "B110  m0" in report
    assert "151 of B128" in report


def test_problems_are_sorted_and_each_is_told_once() -> None:
    places = [Place("b", 1, 1), Place("a", 2, 1), Place("a", 1, 9), Place("a", 1, 2), Place("a")]
    problems = [Problem(code, "m", "a", place) for place in places for code in ("B102", "B101", "B102")]
    found = ordered(problems)
    assert [(p.place.file, p.place.line, p.place.column, p.code) for p in found] == sorted(
        {(p.place.file, p.place.line, p.place.column, p.code) for p in problems}
    )
    assert ordered(reversed(problems)) == found


@pytest.mark.parametrize(("severity", "status"), [(Severity.ERROR, 1), (Severity.NOT_RUN, 1), (Severity.WARNING, 0)])
def test_only_warnings_pass(severity: Severity, status: int) -> None:
    assert exit_code([Problem("B100", "m", "a", Place("f"), severity)]) == status
    assert exit_code([]) == 0
