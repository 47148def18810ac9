"""Truth, scrapes and scores of the accuracy benchmark, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy import Seen, _score
from harness import library
from harness.library import Tenant


def tenant(good: list[int], bad: list[int], **more: object) -> Tenant:
    return Tenant("t", np.array(good), np.array(bad), **more)  # type: ignore[arg-type]


def scraped(of: Tenant) -> dict[str, list[tuple[int, float]]]:
    """By code: (second, value) of each scrape."""
    return {
        labels["code"]: [(int(time) // 1000, float(value)) for time, value in zip(times, values, strict=True)]
        for labels, times, values in of.scraped(0)
    }


def test_truth_is_what_fell_into_the_window() -> None:
    one = tenant([1, 1, 1, 1, 1, 1], [0, 0, 2, 0, 0, 3])
    bad, total = one.events(np.array([3, 6, 6, 5]), 3)
    assert bad.tolist() == [2, 3, 3, 2]
    assert total.tolist() == [5, 6, 6, 5]


def test_a_window_that_begins_before_the_start_holds_what_there_is() -> None:
    bad, total = tenant([1, 1], [1, 0]).events(np.array([2]), 100)
    assert (bad.tolist(), total.tolist()) == ([1], [3])


def test_a_scrape_sees_what_was_counted_until_then() -> None:
    seen = scraped(tenant([1] * 60, [0] * 60))
    assert seen == {"200": [(11, 11.0), (41, 41.0)]}  # nothing ever failed: there is no such counter


def test_a_restart_sets_counters_to_zero() -> None:
    seen = scraped(tenant([1] * 60, [0] * 60, restarts=(30,)))
    assert seen["200"] == [(11, 11.0), (41, 11.0)]


def test_nothing_is_scraped_in_a_gap() -> None:
    seen = scraped(tenant([1] * 90, [0] * 90, unseen=np.arange(90) // 30 == 1))
    assert [second for second, _ in seen["200"]] == [11, 71]


def test_a_counter_begins_with_its_first_event() -> None:
    seen = scraped(tenant([1] * 90, [0] * 50 + [1] + [0] * 39))
    assert seen["500"] == [(71, 1.0)]


def test_the_library_is_the_same_for_the_same_seed() -> None:
    one, other = library.tenants(2, 7), library.tenants(2, 7)
    assert [each.name for each in one] == [each.name for each in other]
    assert all((a.bad == b.bad).all() and (a.good == b.good).all() for a, b in zip(one, other, strict=True))
    assert len({each.name for each in one}) == 12


@pytest.mark.parametrize(("name", "share"), [("steady", 0.002), ("late-tenant-30h", 0.004), ("never-an-error", 0.0)])
def test_tenants_of_the_library_fail_as_often_as_is_said(name: str, share: float) -> None:
    one = next(each for each in library.tenants(2, 7) if each.name == name)
    bad, total = one.events(np.array([2 * 86400]), 2 * 86400)
    assert bad[0] / total[0] == pytest.approx(share, rel=0.1)


def row(there: list[bool], ratio: list[float]) -> Seen:
    seconds: NDArray[np.int64] = np.array([100, 200, 300])
    return Seen("ours", "t", "100s", seconds, np.array(there), np.array(ratio))


def test_a_score_compares_with_the_truth_where_enough_failed() -> None:
    one = tenant([9] * 100 + [9] * 100 + [9] * 100, [1] * 100 + [0] * 100 + [1] * 100)
    score = _score(one, row([True, True, True], [0.1, 0.0, 0.11]), least_errors=20)
    assert score.errors.tolist() == pytest.approx([0.0, 0.1])
    assert (score.missing, score.nan, score.made_up) == (0, 0, 0)


def test_a_score_counts_what_is_missing_nan_and_made_up() -> None:
    one = tenant([9] * 100 + [9] * 100 + [9] * 100, [1] * 100 + [0] * 100 + [1] * 100)
    score = _score(one, row([False, True, True], [0.0, 0.2, float("nan")]), least_errors=20)
    assert (score.missing, score.nan, score.made_up) == (1, 1, 1)


def test_nothing_is_missing_while_a_tenant_is_not_there() -> None:
    score = _score(tenant([0] * 300, [0] * 300), row([False] * 3, [0.0] * 3), least_errors=20)
    assert score.missing == 0
