"""Interpreter and C library settings of a worker: garbage collector, allocator, GIL switch interval."""

import ctypes
import gc
import sys
from typing import Final

_YOUNG: Final = 50_000
"""Allocations before the youngest generation is collected: more than most batches make."""
_MIDDLE: Final = 20
_OLD: Final = 100

_SWITCH_INTERVAL_S: Final = 0.0005

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""Free memory kept at the end of the heap, and size limit of blocks taken from the heap."""


def tune_runtime() -> None:
    """Applies all settings to this process; call it after the start-up."""
    collect_rarely()
    keep_freed_memory()
    shorten_switch_interval()


def collect_rarely() -> None:
    """Runs the cyclic garbage collector rarely; this code creates almost no cycles.

    Objects of the start-up are frozen. With Python's defaults the collector scanned all buffered records again and
    again: 4.4 of 16.5 µs per event of the engine's benchmark, 0.01 µs with these values.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process for the next batch; returns whether the C library supports it.

    By default glibc returns large blocks and the free end of the heap to the system at once. Then every batch causes
    page faults for its arrays: about a tenth of the time of a fold with large arrays.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, _KEPT_BYTES) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD))


def shorten_switch_interval() -> None:
    """Shortens the GIL switch interval so that I/O threads are not starved while a batch is folded.

    The consumer's thread needs the GIL several times per fetch. By default each wait may take 5 ms.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
