"""A process that folds does its products in one thread, unless its environment asks for more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PRODUCT = "{first}; import os; import numpy as np; np.ones((500, 500)) @ np.ones((500, 500)); {said}"
TASKS = "print(len(os.listdir('/proc/self/task')))"


def after_importing(first: str, said: str, **own: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | own
    command = [sys.executable, "-c", PRODUCT.format(first=first, said=said)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_a_process_that_folds_has_one_thread_of_blas() -> None:
    assert after_importing("import streams.contract.arrays", "print(os.environ['OPENBLAS_NUM_THREADS'])") == "1"
    if Path("/proc/self/task").exists() and len(os.sched_getaffinity(0)) > 1:  # Linux, and BLAS would have more.
        assert after_importing("import streams.contract.arrays", TASKS) == "1"
        assert int(after_importing("pass", TASKS)) > 1


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_environment_says_holds(name: str) -> None:
    said = f"print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ[{name!r}])"
    openblas = {"OMP_NUM_THREADS": "None", "OPENBLAS_NUM_THREADS": "3"}.get(name, "1")
    assert after_importing("import streams.contract.arrays", said, **{name: "3"}) == f"{openblas} 3"
