"""The collector looks seldom, and not at what the start-up has made."""

import gc
from collections.abc import Iterator

import pytest

from streams.engine.runtime_tuning import collect_rarely


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_is_there_is_never_looked_at_again_and_cycles_are_still_found() -> None:
    there: list[object] = []
    collect_rarely()
    assert all(there is not seen for seen in gc.get_objects())
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
