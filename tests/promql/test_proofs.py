"""The emitted promtool tests: they pass on what is compiled, and each kind of mistake in a rule makes them fail."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.emit import write_build
from reliary_stack.binaries import find_tool
from slolab import lab
from support import AETHER, ROOT, changed_copy

LCOPILOT = ROOT / "examples" / "lcopilot"

Mistake = tuple[str, str, str, str]
"""A rule file, what it has, what a mistake would make of it, and the proofs that must notice."""

INDICATORS = "recording alerts"
AETHER_MISTAKES: dict[str, Mistake] = {
    "the VIP limit is 0.1": ("alerts", r"hit_ratio:5m < 0\.2$", "hit_ratio:5m < 0.1", INDICATORS),
    "the limit of low confidence is 40": ("alerts", r"pct:15m > 30$", "pct:15m > 40", INDICATORS),
    "the guard has no margin": ("alerts", r"1\.645 \* sqrt", "0 * sqrt", INDICATORS),
    "the guard is a bare > 0": ("alerts", r"> 0\.7 \*", "> 0 *", INDICATORS),
    "the guard has the wrong limit": ("alerts", r"> 0\.3 \*", "> 0.1 *", INDICATORS),
    "the guard of the score is the score": ("alerts", r"score:15m:upper < 60", "score:15m < 60", INDICATORS),
    "everybody is a VIP": ("alerts", r'vip="true"', 'vip=~".*"', INDICATORS),
    "the alert does not wait": ("alerts", r"for: 15m", "for: 1m", INDICATORS),
    "the alerts of two tenants are mixed": ("alerts", r"and on \(tenant_id\)\n", "and on ()\n", INDICATORS),
    "the score has no floor": ("recording", r"point, 59\)", "point, 100)", INDICATORS),
    "the value over all tenants is a mean of ratios": (
        "recording",
        r"clamp_max\(sum\((\S+)\) / \(sum\((\S+)\) > 0\), 1\)",
        r"avg(\1 / \2)",
        INDICATORS,
    ),
    "0/0 is recorded": ("recording", r"increase15m\s+> 0\)", "increase15m)", INDICATORS),
    "missing errors are not zero": ("support", r"0 \* aether", "1 * aether", INDICATORS),
    "the burn-rate guard has no margin": ("slo-availability", r"1\.645 \* sqrt", "0 * sqrt", "slo-availability-1h"),
    "seconds are counted as events": (
        "slo-availability",
        r"\(30 \* sum_over_time",
        "(3000 * sum_over_time",
        "slo-availability-1h",
    ),
    "slow requests are good": ("slo-latency", r'le=~"1\(\?:\[\.\]0\)\?"', 'le="+Inf"', "slo-latency-1h"),
    "a budget that nobody used is recorded as 0/0": (
        "slo-availability",
        r'\((tenant_slo:total:window\{slo="availability"\}) > 0\)',
        r"\1",
        "slo-availability-budget",
    ),
}

EXCLUDED = "slo-availability-excluded"
MASK = r"\n *unless on \({label}\) maintenance:active:info\{{window=~\"{window}\"\}}"
LCOPILOT_MISTAKES: dict[str, Mistake] = {
    **{
        f"the factor of {tier} is {low} and not {factor}": (
            "slo-availability",
            rf"> {re.escape(factor)}(?![\d.])",
            f"> {low}",
            f"slo-availability-{tier}",
        )
        for tier, factor, low in (("1h", "14.4", "12.8"), ("6h", "6", "5.3"), ("1d", "3", "2.65"), ("3d", "1", "0.88"))
    },
    **{
        f"the factor of {tier} is {high} and not {factor}": (
            "slo-availability",
            rf"> {re.escape(factor)}(?![\d.])",
            f"> {high}",
            f"slo-availability-{tier}",
        )
        for tier, factor, high in (("1h", "14.4", "19.2"), ("6h", "6", "8"), ("1d", "3", "4"), ("3d", "1", "1.34"))
    },
    **{
        f"the burn label of {tier} is another": (
            "slo-availability",
            rf"burn: {tier}$",
            "burn: 5h",
            f"slo-availability-{tier}",
        )
        for tier in ("1h", "6h", "1d", "3d")
    },
    "no ticket ever ends": ("slo-availability", r"keep_firing_for: \w+", "keep_firing_for: 30d", "slo-availability-1d"),
    "the objective of a tier is ignored": ("slo-availability", r"\+ 0\.0005", "+ 0.005", "slo-availability-1h"),
    "an own objective is ignored": (
        "slo-availability",
        r"tenant_slo_objective_ratio",
        "nothing",
        "slo-availability-1h",
    ),
    "tiles of errors are tiles of all": (
        "slo-availability",
        r"sum_over_time\(tenant_slo:errors:rate5m(\{slo=\"availability\"\}\[5m\]\))",
        r"sum_over_time(tenant_slo:total:rate5m\1",
        "slo-availability-month",
    ),
    "an own window is ignored": (
        "slo-availability",
        MASK.format(label="customer_id", window="migration"),
        "",
        EXCLUDED,
    ),
    "a window for all is ignored": ("slo-availability", MASK.format(label="", window="patching"), "", EXCLUDED),
    "only planned windows count": (
        "slo-availability",
        r"\n( *)unless (on \(\) maintenance)",
        r"\n\1and \2",
        EXCLUDED,
    ),
    "an own window holds for all": (
        "slo-availability",
        r"(unless|and) on \(customer_id\) (maintenance)",
        r"\1 on () \2",
        EXCLUDED,
    ),
    "nobody is told of a planned window": ("slo-budgets", r"5 \+ 0 \*", "0 *", EXCLUDED),
    "excluded events are not kept for the auditors": (
        "slo-availability",
        r"tenant_slo:excluded:rate5m\n",
        "tenant_slo:excluded:rate6m\n",
        EXCLUDED,
    ),
    "months are not told apart": (
        "slo-availability",
        r"\* on \(period\)\s+group_left\s+\(\)\s+calendar:period:current\{[^}]*\}",
        "",
        "slo-availability-month",
    ),
    "the elapsed share of the month is left out": (
        "slo-availability",
        r"\n +\* on \(slo\) group_left \(\) slo:window_elapsed:ratio\S+",
        "",
        "slo-availability-month",
    ),
    "a month has 31 days": (
        "calendar",
        r"(days_in_month\(sum\(calendar[^)]*\)\))",
        r"(31 + 0 * \1)",
        "slo-availability-month",
    ),
    "thirty days are one": ("slo-response_time", r"\[30d\]", "[1d]", "slo-response_time-budget"),
    "months are those of UTC": (
        "calendar",
        r'sum\(calendar:local_time:seconds\{zone="Europe/Berlin"\}\)',
        "vector(time())",
        "slo-availability-month",
    ),
    "planned windows are by the clocks of UTC": (
        "maintenance",
        r'sum\(maintenance:local_time:seconds\{zone="Europe/Berlin"\}\)',
        "vector(time())",
        "maintenance-patching-on",
    ),
    "a quarter is a month": ("calendar", r"- 1\) / 3\) % 3", "- 1) / 1) % 3", "slo-resolution-quarter"),
    "a window is an hour early": ("maintenance", "7170", "3570", "maintenance-patching-on"),
    "a window is on another day": ("maintenance", r"\) == 0\)", ") == 1)", "maintenance-patching-on"),
    "a window does not end": ("maintenance", "< 2130", "< 86400", "maintenance-patching-off"),
    "a window that happens once does not end": (
        "maintenance",
        r"< 1796519100",
        "< 99999999999",
        "maintenance-migration-off",
    ),
    "a window that happens once does not begin": (
        "maintenance",
        r">= 1796504370",
        ">= 1796519099",
        "maintenance-migration-on",
    ),
    "what remains is what was consumed": (
        "slo-budgets",
        r"expr: 1 - tenant_slo",
        "expr: tenant_slo",
        "slo-response_time-budget",
    ),
    "minutes are hours": (
        "slo-budgets",
        r"slo:window:seconds / 60",
        "slo:window:seconds / 3600",
        "slo-response_time-budget",
    ),
    "the roll-up is a mean of ratios": (
        "slo-budgets",
        r"sum by \(slo\) \((tenant_slo:error_budget_consumed:ratio) \* \S+ \* \S+\)\n"
        r" +/ \(sum by \(slo\) \(([^)]*)\) > 0\)",
        r"avg by (slo) (\1)",
        "slo-response_time-budget",
    ),
    "success is not weighed by the budget": (
        "slo-budgets",
        r"consumed:ratio \* tenant_slo:error_budget:ratio\n( +)/ on",
        r"consumed:ratio\n\1/ on",
        "slo-response_time-budget",
    ),
    "who is exhausted is burning": ("slo-budgets", r"2 \+ 0 \*", "1 + 0 *", "slo-response_time-budget"),
    "who has a budget is well, whatever else holds": (
        "slo-budgets",
        r"( +)(2 \+ 0 \* [^\n]*)",
        r"\1(0 * tenant_slo:error_budget_consumed:ratio)\n\1or on (customer_id, slo)\n\1\2",
        "slo-response_time-budget",
    ),
    "no data is too few data": ("slo-budgets", r"4 \+ 0 \*", "3 + 0 *", "slo-response_time-budget"),
    "too few data are no matter": ("slo-budgets", r"3 \+ 0 \* \(\(30", "0 * ((30", "slo-response_time-budget"),
    "the total is that of all buckets": (
        "slo-response_time",
        r"http_request_duration_seconds_count",
        "http_request_duration_seconds_bucket",
        "slo-response_time-1h",
    ),
    "every answer is fast": ("slo-response_time", r'le=~"2\(\?:\[\.\]0\)\?"', 'le="+Inf"', "slo-response_time-1h"),
    "a page that is down counts as seen": (
        "slo-status_page",
        r"sum_over_time\(status_page_up",
        "count_over_time(status_page_up",
        "slo-status_page-6h",
    ),
    "the short window is not asked": (
        "slo-availability",
        r"\n +and on \(customer_id, slo\)\n +tenant_slo:burn_rate:5m\S+ > 14\.4",
        "",
        "slo-availability-1h",
    ),
    "the bucket of a tier is that of another": (
        "slo-response_time",
        r'le="0\.5"',
        'le=~"2(?:[.]0)?"',
        "slo-response_time-1h slo-response_time-3d slo-response_time-budget",
    ),
    "the bound of a tier is asked of another": (
        "slo-response_time",
        r'tenant_info\{tier="enterprise"\}',
        'tenant_info{tier="nobody"}',
        "slo-response_time-1h slo-response_time-budget",
    ),
    **{
        f"the guard of {tier} has no margin": (
            "slo-availability",
            rf"(burn_rate:{tier}\S+ - )1\.645",
            r"\g<1>0",
            f"slo-availability-{tier}",
        )
        for tier in ("6h", "1d", "3d")
    },
    "a burn rate without traffic is recorded": (
        "slo-availability",
        r'\((tenant_slo:total:rate5m\{slo="availability"\}) > 0\)',
        r"\1",
        "slo-availability-1h slo-availability-budget",
    ),
    "missing errors are not zero": (
        "slo-availability",
        r"\n +or on \(customer_id\)\n +0 \* tenant_slo:total:rate5m\S+\)",
        ")",
        "slo-availability-1h slo-availability-budget",
    ),
    "keep_firing_for is forgotten": (
        "slo-availability",
        r"keep_firing_for: \w+",
        "keep_firing_for: 1s",
        "slo-availability-1d",
    ),
    "the composite is a mean": (
        "slo-budgets",
        r"sum by \(customer_id\) \((tenant_slo:error_budget_consumed:ratio\{[^}]*\}) \* \S+ \* \S+\)",
        r"avg by (customer_id) (\1)",
        "composite-experience",
    ),
    "the roll-up of tiers is a mean": (
        "slo-budgets",
        r"sum by \(slo, tier\) \(\(tenant_slo:error_budget_consumed:ratio",
        "avg by (slo, tier) ((tenant_slo:error_budget_consumed:ratio",
        "slo-response_time-budget",
    ),
    "the day is an hour": (
        "slo-availability",
        r"sum5m\{slo=\"availability\"\}\[1d\]",
        'sum5m{slo="availability"}[1h]',
        "slo-availability-1d",
    ),
    "six hours are one": (
        "slo-availability",
        r"rate5m\{slo=\"availability\"\}\[6h\]",
        'rate5m{slo="availability"}[1h]',
        "slo-availability-6h slo-availability-1h",
    ),
    "the month looks back a week": (
        "slo-availability",
        r"\[32d\]",
        "[7d]",
        "slo-availability-month slo-availability-budget",
    ),
    "the state forgets who is burning": ("slo-budgets", r"1 \+ 0 \* max", "0 * max", "slo-response_time-budget"),
    "success over all is that of the budget": (
        "slo-budgets",
        r"(clamp\(1 - )sum by \(slo\)",
        r"\1 2 * sum by (slo)",
        "slo-response_time-budget",
    ),
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both examples, compiled."""
    folders = {}
    for example in (AETHER, LCOPILOT):
        folders[example.name] = tmp_path_factory.mktemp("proofs") / "build"
        reading = read_definitions(example)
        assert reading.stack is not None
        write_build(compile_stack(reading.stack, Site(), reading.digest), reading.digest, folders[example.name])
    return folders


def promtool_test(build: Path, *topics: str) -> subprocess.CompletedProcess[str]:
    tool = find_tool("promtool")
    files = [f"tests/{topic}.yml" for topic in topics] or [str(path) for path in sorted(build.glob("tests/*.yml"))]
    return subprocess.run([tool.path, "test", "rules", *files], cwd=build, capture_output=True, text=True, check=False)


def with_mistake(build: Path, folder: Path, mistake: Mistake) -> subprocess.CompletedProcess[str]:
    """What the proofs say of a build in which one rule file has a mistake."""
    topic, right, wrong, proofs = mistake
    (folder / "rules").mkdir(parents=True)
    (folder / "tests").symlink_to(build / "tests")
    for path in build.glob("rules/*.yml"):
        (folder / "rules" / path.name).write_text(path.read_text())
    rule = folder / "rules" / f"{topic}.yml"
    text, changed = re.subn(right, wrong, rule.read_text(), flags=re.MULTILINE)
    assert changed, "the rule no longer has what the mistake changes"
    rule.write_text(text)
    return promtool_test(folder, *proofs.split())


@pytest.mark.parametrize(("example", "proofs"), [("aether", 12), ("lcopilot", 22)])
def test_the_emitted_proofs_pass(example: str, proofs: int, builds: dict[str, Path]) -> None:
    done = promtool_test(builds[example])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == proofs


@pytest.mark.parametrize("mistake", AETHER_MISTAKES)
def test_the_emitted_proofs_notice_that(mistake: str, builds: dict[str, Path], tmp_path: Path) -> None:
    done = with_mistake(builds["aether"], tmp_path / "build", AETHER_MISTAKES[mistake])
    assert done.returncode == 1
    assert "exp:" in done.stderr, done.stderr  # it failed for what it saw, not for a rule that does not load


@pytest.mark.parametrize("mistake", LCOPILOT_MISTAKES)
def test_the_proofs_of_tiers_calendars_and_windows_notice_that(
    mistake: str, builds: dict[str, Path], tmp_path: Path
) -> None:
    done = with_mistake(builds["lcopilot"], tmp_path / "build", LCOPILOT_MISTAKES[mistake])
    assert done.returncode == 1
    assert "exp:" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("interval", "low", "high"), [("15s", "0.02", "97"), ("45s", "0.05", "95"), ("2m", "0.5", "50")]
)
def test_the_proofs_hold_at_other_intervals_and_near_the_ends(
    interval: str, low: str, high: str, tmp_path: Path
) -> None:
    definitions = changed_copy(
        tmp_path,
        {
            "stack.yml": {"evaluation_interval: 30s": f"evaluation_interval: {interval}"},
            "slos.yml": {"cache_hit_ratio < 0.30": f"cache_hit_ratio < {low}", "pct > 30": f"pct > {high}"},
        },
    )
    reading = read_definitions(definitions)
    assert reading.stack is not None
    write_build(compile_stack(reading.stack, Site(), reading.digest), reading.digest, tmp_path / "build")
    done = promtool_test(tmp_path / "build")
    assert done.returncode == 0, done.stderr


ONE = """
slos:
  a:
    bad: x_total{code=~"5.."}
    total: x_total
    objective: OBJECTIVE
    window: 30d
    alerts: none
"""
TWO_TENANTS = "tiers: {pro: {}}\ntenants: [{id: acme, tier: pro}, {id: globex, tier: pro}]\n"


@pytest.mark.parametrize(
    ("objective", "every"),
    [
        ("99.9", "Sun 02:00, lasts: 30m"),
        ("99.9", "daily 02:00, lasts: 30m"),
        ("99.9", "Thu 00:00, lasts: 4h"),  # promtool begins on a Thursday, 1 January 1970
        ("99.9", "day 1 00:00, lasts: 1d"),
        ("99.9", "daily 00:00, lasts: 1d, tenants: [globex]"),
        ("99.9", "Fri 20:00, lasts: 6h, zone: Pacific/Chatham"),
        ("99.999", "Sun 02:00, lasts: 30m"),
        ("99.9999", "Sun 02:00, lasts: 30m"),
        ("30", "Sun 02:00, lasts: 30m"),
        ("1", "Sun 02:00, lasts: 30m"),
    ],
)
def test_the_proofs_hold_for_any_objective_and_planned_window(objective: str, every: str, tmp_path: Path) -> None:
    """A proof that fails on sound rules stops `reliary check`."""
    maintenance = f"maintenance: {{planned: {{every: {every}}}}}\n"
    slos = ONE.replace("OBJECTIVE", objective)
    done = promtool_test(lab(tmp_path, slos=slos, tenants=TWO_TENANTS, maintenance=maintenance).build)
    assert done.returncode == 0, done.stderr
