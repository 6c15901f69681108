"""When Python looks for reference cycles: seldom, since hardly anything here makes one.

With Python's defaults the collector went through all buffered records again and again: on the benchmark of the engine
it took 4.4 of 16.5 µs of each event, with these values 0.01 (``python -m benchmarks engine``).
"""

import gc
from typing import Final

_YOUNG: Final = 50_000
"""Containers made and not yet dropped before the young ones are looked at: more than a batch of most folds makes."""
_MIDDLE: Final = 20
_OLD: Final = 100


def collect_seldom() -> None:
    """Takes what the start-up has made out of the collector's sight, and lets it look less often at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
