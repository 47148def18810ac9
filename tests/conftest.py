"""For all tests."""

import signal

import pytest

# A job in the background of a shell starts with Ctrl-C ignored, and so would all that it starts. The tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with servers on well-known ports run one after another, beside those that only compute."""
    for item in items:
        if "e2e" in item.path.parts:
            group = "backfill" if item.path.stem == "test_backfill" else "servers"
            item.add_marker(pytest.mark.xdist_group(group))
