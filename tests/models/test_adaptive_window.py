from typing import Any

import numpy as np
import pytest
from river.drift import ADWIN

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.adaptive_window import AdaptiveWindow


def stream(seed: int) -> list[float]:
    """Losses whose mean changes five times, sometimes by little."""
    random = np.random.default_rng(seed)
    parts = [random.beta(2.0, 3.0 + 9.0 * random.random(), random.integers(100, 2500)) for _ in range(6)]
    values: list[float] = np.concatenate(parts).tolist()
    return values


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_what_rivers_adwin_finds_at_the_same_example(seed: int) -> None:
    """River begins a new window after a change, where the paper keeps the later part; so ours is begun anew, too."""
    river: Any = ADWIN()  # type: ignore[no-untyped-call] # River types a part
    ours = AdaptiveWindow()
    found = 0
    for value in stream(seed):
        river.update(value)
        changed = ours.update(value)
        assert (changed is not None) == river.drift_detected
        assert ours.size == river.width
        assert ours.mean == pytest.approx(river.estimation, abs=1e-9)
        if changed:
            found += 1
            ours = AdaptiveWindow()
    assert found


def test_it_tells_the_means_before_and_after() -> None:
    random = np.random.default_rng(0)
    window = AdaptiveWindow()
    values = [*random.normal(0.2, 0.05, 1000).tolist(), *random.normal(0.6, 0.05, 200).tolist()]
    changes = [window.update(value) for value in values]
    before, after = next(change for change in changes if change)
    assert before == pytest.approx(0.2, abs=0.02)
    assert after > 0.35
    assert window.mean == pytest.approx(0.6, abs=0.03)


def test_a_restart_changes_no_bit() -> None:
    straight, stopped = AdaptiveWindow(), AdaptiveWindow()
    for place, value in enumerate(stream(3)):
        straight.update(value)
        stopped.update(value)
        if place % 97 == 0:
            resumed = AdaptiveWindow()
            resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
            stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())
