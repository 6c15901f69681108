"""Distribution of tests over the processes of pytest-xdist.

A test goes to whichever process is free. Where tests share something that takes long to start, they share a process;
xdist's own way of saying so, the mark ``xdist_group``, does nothing under pytest 9.2 (xdist 3.8 writes to an attribute
that is gone).
"""

import os
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadScopeScheduling

KAFKAS: Final = 1 if os.environ.get("KAFKA_BOOTSTRAP_SERVERS") else 2
"""Kafka clusters of a run. Each serves one test at a time, and takes 10 s of a core to come up."""

_ROOT: Final = Path(__file__).parents[1]
_ON_KAFKA: Final = (*sorted(Path(__file__).parent.glob("broker/test_*.py")), _ROOT / "tests/chaos/test_chaos.py")
SHARED: Final = {
    **{str(path.relative_to(_ROOT)): f"kafka-{number % KAFKAS}" for number, path in enumerate(_ON_KAFKA)},
    "tests/system/test_replayed_file.py": "replayed-file",
}
"""Module to the name of what it shares with others, or its tests with each other."""


class SharingScheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """The largest groups of tests first, then test by test."""

    def _split_scope(self, nodeid: str) -> str:
        return SHARED.get(nodeid.partition("::")[0], nodeid)
