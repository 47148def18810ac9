"""What foreign queries count: proven by the real promtool, refused by name, and never a crash."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliary import promql
from reliary.artifacts import File
from reliary.definitions.spec import read_definitions
from reliary.importers.events import events
from reliary.importers.importing import TITLES, Options, Tool, import_objectives
from reliary.importers.promqltext import Counter, Matcher, Unprovable, parsed, printed
from reliary.importers.report import to_json, to_text
from reliary.importers.sources import Latency, Ratio, latency_of, ratio, share
from reliary.problems import Problem
from reliary_stack.binaries import find_tool

W = "[{{.window}}]"
BAD = f'sum(rate(a_total{{code="500"}}{W}))'
ALL = f"sum(rate(a_total{W}))"
COUNT, BUCKET = f"sum(rate(d_seconds_count{W}))", f'sum(rate(d_seconds_bucket{{le="0.5"}}{W}))'


# -- theirs and ours give the same share

SERIES = {
    'a_total{tenant_id="x",code="500"}': "0+3x120",
    'a_total{tenant_id="x",code="200"}': "0+60x120",
    'a_total{tenant_id="y",code="200"}': "0+11x120",
    'b_total{tenant_id="x"}': "5+2x120",
    'c_total{tenant_id="y"}': "0+1x120",
    'd_seconds_count{tenant_id="x"}': "0+40x120",
    'd_seconds_bucket{tenant_id="x",le="0.5"}': "0+37x120",
    'd_seconds_bucket{tenant_id="x",le="+Inf"}': "0+40x120",
}

EQUAL = {
    "counters": (BAD, ALL),
    "or vector(0)": (f"{BAD} or vector(0)", f"{ALL} > 0"),
    "a bucket": (f"{COUNT} - {BUCKET}", COUNT),
    "a bucket in parentheses": (f"(({COUNT}) - ({BUCKET}))", f"({COUNT})"),
    "the bucket of all": (f"{COUNT} - {BUCKET}", f'sum(rate(d_seconds_bucket{{le="+Inf"}}{W}))'),
    "a sum of two counters": (f"sum(rate(b_total{W})) + sum(rate(c_total{W}))", ALL),
    "a difference": (f"sum(rate(b_total{W})) - sum(rate(c_total{W}))", ALL),
    "a factor": (f"0.25 * {BAD}", f"{ALL} / 2"),
    "increase": (BAD.replace("rate", "increase"), ALL.replace("rate", "increase")),
    "a sum by handler": (f'sum(sum by (code) (rate(a_total{{code="500"}}{W})))', ALL),
    "counts of samples": (f"sum(count_over_time(b_total{W}))", f"sum(count_over_time(d_seconds_bucket{W}))"),
    "counts of an aggregation": (
        f"sum_over_time((count(b_total))[{W[1:-1]}:1m]) or on() vector(0)",
        f"sum_over_time((count(d_seconds_bucket))[{W[1:-1]}:1m])",
    ),
    "a negative": (f"-({BUCKET} - {COUNT})", COUNT),
}


def ours(keys: Mapping[str, object]) -> str:
    """The share of bad events over all tenants that a definition's keys stand for, over one hour."""
    if "histogram" in keys:
        name, seconds = str(keys["histogram"]), str(keys["within"]).removesuffix("ms")
        bound = promql.number(float(seconds) / 1000)
        return f'1 - sum(increase({name}_bucket{{le="{bound}"}}[1h])) / sum(increase({name}_count[1h]))'
    part = "bad" if "bad" in keys else "good"
    counted, total = (_summed(str(keys[key])) for key in (part, "total"))
    return f"{counted} / {total}" if part == "bad" else f"1 - {counted} / {total}"


def _summed(text: str) -> str:
    query = text.replace(promql.WINDOW, "1h") if promql.WINDOW in text else f"increase({text}[1h])"
    return f"sum({query})"


def theirs(bad: str, total: str) -> str:
    return f"({bad}) / ({total})".replace("{{.window}}", "1h")


def test_their_share_and_ours_are_equal(tmp_path: Path) -> None:
    tests = []
    for bad, total in EQUAL.values():
        keys = ratio("bad", events(bad), events(total)).keys("tenant_id")
        left, right = theirs(bad, total), ours(keys)
        apart = f"abs(({left}) - on () ({right})) < bool 1e-12"
        tests += [{"expr": apart, "eval_time": "90m", "exp_samples": [{"labels": "{}", "value": 1}]}]
        tests += [
            {"expr": f"count({left}) > bool 0", "eval_time": "90m", "exp_samples": [{"labels": "{}", "value": 1}]}
        ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    content = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps(content))
    done = subprocess.run(
        [find_tool("promtool").path, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_tenant_with_one_of_two_counters_is_counted(tmp_path: Path) -> None:
    bad = events(f"sum(rate(b_total{W})) + sum(rate(c_total{W}))").query("tenant_id").replace(promql.WINDOW, "1h")
    samples = [{"labels": '{tenant_id="x"}', "value": 120}, {"labels": '{tenant_id="y"}', "value": 60}]
    content = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in SERIES.items()],
                "promql_expr_test": [{"expr": f"round({bad})", "eval_time": "90m", "exp_samples": samples}],
            }
        ]
    }
    (tmp_path / "tests.yml").write_text(json.dumps(content))
    command = [find_tool("promtool").path, "test", "rules", tmp_path / "tests.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- the plainest form


def keys(bad: str, total: str) -> dict[str, object]:
    return ratio("bad", events(bad), events(total)).keys("tenant_id")


def test_sums_of_rates_become_counters() -> None:
    assert keys(BAD, ALL) == {"bad": 'a_total{code="500"}', "total": "a_total"}


def test_count_less_bucket_becomes_a_latency() -> None:
    assert keys(f"{COUNT} - {BUCKET}", COUNT) == {"histogram": "d_seconds", "within": "500ms"}


def test_total_less_good_becomes_good() -> None:
    good = f"sum(rate(good_total{W}))"
    assert keys(f"{ALL} - {good}", ALL) == {"good": "good_total", "total": "a_total"}


def test_a_counter_of_one_tenant_becomes_a_query() -> None:
    one = ALL.replace("a_total", 'a_total{tenant_id="x"}')
    assert keys(one, ALL)["bad"] == 'sum by (tenant_id) (increase(a_total{tenant_id="x"}[{window}]))'


@pytest.mark.parametrize(
    ("bucket", "bound", "count"),
    [
        ("d_ms_bucket", "400", "d_ms_count"),
        ("d_seconds_bucket", "0.0005", "d_seconds_count"),
        ("d_seconds_bucket", "+Inf", "d_seconds_count"),
        ("d_seconds_bucket", "0.50", "d_seconds_count"),
        ("d_seconds_bucket", "1e-1", "d_seconds_count"),
        ("d_seconds_bucket", "0.5", "e_seconds_count"),
        ("d_seconds_bucket", "0.5", "d_seconds_sum"),
    ],
)
def test_what_would_not_be_found_as_a_bucket_is_no_latency(bucket: str, bound: str, count: str) -> None:
    assert latency_of(Counter(bucket, (Matcher("le", "=", bound),)), Counter(count)) is None


def test_a_latency_keeps_its_other_matchers() -> None:
    method = Matcher("method", "=", "GET")
    found = latency_of(
        Counter("d_seconds_bucket", (Matcher("le", "=", "1.0"), method)), Counter("d_seconds_count", (method,))
    )
    assert found == Latency(Counter("d_seconds", (method,)), 1000)
    assert (
        latency_of(Counter("d_seconds_bucket", (Matcher("le", "=", "1"), method)), Counter("d_seconds_count")) is None
    )


def test_a_divided_share_becomes_counts_and_others_stay_shares() -> None:
    assert isinstance(share("bad", f"1 - ({BAD} / {ALL})"), Ratio)
    assert share("bad", f"max_over_time(x{W})").keys("tenant_id") == {
        "bad_ratio": "avg by (tenant_id) (max_over_time(x[{window}]))"
    }
    assert share("bad", f"avg by (tenant_id) (avg_over_time(x{W}))").keys("tenant_id") == {
        "bad_ratio": "avg by (tenant_id) (avg_over_time(x[{window}]))"
    }


def test_a_share_keeps_the_tenant_through_aggregations_and_matches() -> None:
    found = share("bad", f"sum by (job) (avg_over_time(x{W})) / on (job) group_left max without (tenant_id) (y)")
    assert found.keys("tenant_id") == {
        "bad_ratio": "avg by (tenant_id) (sum by (job, tenant_id) (avg_over_time(x[{window}])) "
        "/ on (job, tenant_id) group_left () max without () (y))"
    }


# -- refused by name


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (f"max(rate(a_total{W}))", "`max`"),
        (f"count(rate(a_total{W}))", "`count`"),
        (f"sum(irate(a_total{W}))", "`irate`"),
        (f"sum(delta(a_total{W}))", "`delta`"),
        (f"histogram_quantile(0.9, sum(rate(a_bucket{W})))", "`histogram_quantile`"),
        (f"clamp_min({ALL}, 1)", "`clamp_min`"),
        (f"{ALL} or vector(1)", "`or vector(…)`"),
        (f"{ALL} or {BAD}", "`or`"),
        (f"{ALL} and {BAD}", "`and`"),
        (f"{ALL} * {BAD}", "`*`"),
        (f"1 / {ALL}", "`/`"),
        (f"{ALL} > 5", "`>`"),
        (f"{ALL} > bool 0", "`>`"),
        (f"sum(rate(a_total{W}) * on (pod) group_left () b)", "join"),
        ("sum(a_total)", "without a window"),
        ("sum(rate(a_total[5m]))", "a range of its own"),
        (f"{ALL} + sum(rate(a_total[5m]))", "two ways"),
        (f"{ALL} + sum(increase(b_total{W}))", "rates and counts"),
        (f"sum(rate(a_total{W} offset 5m))", "`offset`"),
        (f"sum(rate(a_total{W} @ end()))", "`@`"),
        ("sum(rate(a_total[{{.period}}]))", "`{{.period}}`"),
        (f'sum(rate(a_total{{x="{{window}}"}}{W}))', "`{window}`"),
        ("sum(rate(a_total[$__rate_interval]))", "variable of a dashboard"),
        ("sum(rate(a_total[", "not valid PromQL"),
        (f"{ALL} - {ALL}", "counts nothing"),
        ("0", "counts nothing"),
        (f"label_replace({ALL}, 'a', 'b', 'c', 'd')", "`label_replace`"),
        (f"sum(rate((a_total){W.replace(']', ':1m]')}))", "subquery"),
        ("+".join(["x"] * 400), "nested too deep"),
        ("-" * 1900 + "x", "nested too deep"),
        ("x" * 3000, "3,000 characters"),
    ],
)
def test_what_is_no_number_of_events_is_refused_by_name(query: str, name: str) -> None:
    with pytest.raises(Unprovable) as caught:
        events(query)
    assert name in caught.value.message
    assert caught.value.advice.endswith(".")


def test_rate_beside_increase_is_no_share() -> None:
    with pytest.raises(Unprovable, match="not counted alike"):
        ratio("bad", events(BAD.replace("rate", "increase")), events(ALL))


def test_bad_events_that_are_all_events_are_refused() -> None:
    with pytest.raises(Unprovable, match="the same"):
        ratio("bad", events(ALL), events(f"({ALL})"))


@pytest.mark.parametrize(
    "query",
    [f"label_replace(avg_over_time(x{W}), 'a', 'b', 'c', 'd')", f"vector(scalar(avg_over_time(x{W})))", "time()"],
)
def test_a_share_that_loses_the_tenant_is_refused(query: str) -> None:
    with pytest.raises(Unprovable, match="cannot be made to keep the label `tenant_id`"):
        share("bad", query).keys("tenant_id")


def test_what_was_left_out_is_told() -> None:
    found = events(f"(sum by (pod) (rate(a_total{W})) or on () vector(0)) > 0")
    assert found.grouped == ("pod",)
    assert [text.split(":")[0] for text in found.dropped] == ["`> 0`", "`or vector(0)`"]


# -- any text

TEXTS = st.text(alphabet="sumrate(x_total)[{.window}]+-*/ 0.5<>=\"',:byor@\\\n", max_size=60)


@given(st.one_of(TEXTS, st.text(max_size=40)))
@settings(max_examples=200, deadline=None)
def test_no_query_crashes(text: str) -> None:
    for read in (events, lambda query: share("bad", query).keys("tenant_id")):
        with suppress(Unprovable):
            read(text)


@given(st.text(max_size=30).filter(lambda value: "{" not in value))
@settings(max_examples=100, deadline=None)
def test_values_of_matchers_are_quoted(value: str) -> None:
    text = Counter("x_total", (Matcher("a", "=", value),)).text
    if promql.syntax_problem(text) is None:
        again = parsed(text)
        assert printed(again) == text


FILES = sorted((Path(__file__).parents[1] / "importers").glob("*/in/*.yml"))
WORDS = st.sampled_from(
    ["", "x", "[]", "{}", "- 1", "null", "1e999", "{{.window}}", "true", "&a", "*a", "---", "\t", "'", ": "]
)


@given(
    st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80), WORDS), max_size=4), st.data()
)
@settings(max_examples=300, deadline=None)
def test_no_file_crashes_and_what_is_imported_is_read(
    file: Path, edits: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    """A sample with some lines cut off and other words in their place, read as a file of any tool."""
    lines = file.read_text(encoding="utf-8").split("\n")[:120]
    for line, column, word in edits:
        lines[line % len(lines)] = lines[line % len(lines)][:column] + word
    tool: Tool = data.draw(st.sampled_from(list(TITLES)))
    outcome = import_objectives(tool, [(file.name, "\n".join(lines).encode())], Options())
    report = outcome.report
    assert report.problems or report.classes
    assert to_text(report)
    assert json.loads(to_json(report, outcome.files))
    if report.classes:
        assert problems_of(outcome.files) == ()


def problems_of(files: Sequence[File]) -> tuple[Problem, ...]:
    """What our own reader says of an import."""
    with TemporaryDirectory() as folder:
        for file in files:
            (Path(folder) / file.path).write_text(file.text, encoding="utf-8")
        return read_definitions(Path(folder)).problems


@given(st.sampled_from(list(TITLES)), st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_crash(tool: Tool, raw: bytes) -> None:
    assert not import_objectives(tool, [("f.yml", raw)], Options()).report.classes
