"""Bounds on waiting: no test is timed; a wait ends when a state is reached, and fails only where something hangs.

One number says how slow this machine is now: ``TIMEOUT_MULTIPLIER``. It is measured once, by a fixed piece of work and
the load average, and multiplies every bound here and every timeout of a worker under test.
"""

import os
import time
from collections.abc import Callable
from typing import Final

_VARIABLE: Final = "TESTS_TIMEOUT_MULTIPLIER"
_WORK: Final = 3_000_000
_WORK_S: Final = 0.2
"""What ``_WORK`` takes at most on a quiet core, so that a quiet machine has the multiplier 1."""
_MOST: Final = 30.0


def _measured() -> float:
    begun_s = time.monotonic()
    sum(number & 3 for number in range(_WORK))
    slowdown = (time.monotonic() - begun_s) / _WORK_S
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return round(min(_MOST, max(1.0, slowdown, load)), 1)


# Processes of pytest-xdist inherit what the first one measured: they run at once, and would measure each other.
TIMEOUT_MULTIPLIER: Final = float(os.environ.setdefault(_VARIABLE, str(_measured())))

HANG_S: Final = 1200.0 * TIMEOUT_MULTIPLIER
"""The bound of one wait; what is not there by then never comes, also on a machine that grows slow after the measure."""


def scaled(seconds: float) -> float:
    """Returns a timeout of what is tested, as long as this machine needs it."""
    return seconds * TIMEOUT_MULTIPLIER


class Deadline:
    """The end of a wait that does more than ask for a state.

    Args:
        state: What is waited for, with what is known about it; called only on failure.
    """

    def __init__(self, state: Callable[[], object] = lambda: "") -> None:
        self._state = state
        self._at_s = time.monotonic() + HANG_S

    def check(self) -> None:
        """Fails where the wait hangs."""
        assert time.monotonic() < self._at_s, f"nothing came for {HANG_S:.0f} s: {self._state()}"


def wait_until(holds: Callable[[], object], state: Callable[[], object] = lambda: "", interval_s: float = 0.05) -> None:
    """Waits until ``holds`` does; ``state`` says on failure how far it came."""
    deadline = Deadline(state)
    while not holds():
        deadline.check()
        time.sleep(interval_s)
