"""Memory that a batch has freed is there for the next one, without asking the system for it again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from streams.engine.runtime_tuning import keep_freed_memory

def faults_of_a_batch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(100_000) for _ in range(5)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept} and not keep_freed_memory():
    raise SystemExit("no mallopt")
for _ in range(3):
    faults_of_a_batch()
print(sum(faults_of_a_batch() for _ in range(10)))
"""


def faults(*, kept: bool) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, text=True, check=False)
    if "no mallopt" in done.stderr:
        pytest.skip("this C library keeps its own counsel")
    return int(done.stdout)


def test_later_batches_find_the_pages_of_the_first() -> None:
    assert faults(kept=True) < 100 < faults(kept=False)
