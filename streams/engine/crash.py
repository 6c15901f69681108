"""Crash points: where a test may end this process, as suddenly as a power cut, to prove that nothing is lost."""

import os
import signal
from collections import Counter
from typing import Final

CRASH_VARIABLE: Final = "HEADRACE_CRASH_AFTER"
"""``<source topic>:<step>[:<n>]`` kills the process by SIGKILL after that step of that fold, the n-th time."""

_passed: Counter[str] = Counter()


def crash_point(source: str, step: str) -> None:
    """Ends the process here if the environment says so; does nothing otherwise."""
    wanted = os.environ.get(CRASH_VARIABLE)
    if wanted is None:
        return
    point = f"{source}:{step}"
    _passed[point] += 1
    if wanted in (f"{point}:{_passed[point]}", point):
        os.kill(os.getpid(), signal.SIGKILL)
