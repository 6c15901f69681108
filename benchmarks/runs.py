"""Runs that are kept in a folder, so that what was interrupted goes on, and their means over the seeds."""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, Protocol, TypeVar

import numpy as np

from streams.evaluation.laboratory.study import half_width


class Named(Protocol):
    """What is to be run; its name is that of the file of its result."""

    @property
    def name(self) -> str: ...


JobT = TypeVar("JobT", bound=Named)


def results(
    jobs: Sequence[JobT], play: Callable[[JobT], dict[str, Any]], folder: Path, processes: int | None = None
) -> dict[JobT, dict[str, Any]]:
    """Returns the result of each job; those in the folder are not played again.

    Args:
        play: Plays one job in another process; returns what JSON can hold.
        processes: That play at once; by default one for each core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not (folder / job.name).exists()]
    with ProcessPoolExecutor(processes) as pool:
        for number, (job, result) in enumerate(zip(missing, pool.map(play, missing), strict=True), 1):
            (folder / job.name).write_text(json.dumps(result), "utf-8")
            print(f"{number} of {len(missing)} {job.name}", file=sys.stderr, flush=True)
    return {job: json.loads((folder / job.name).read_text("utf-8")) for job in jobs}


def interval(values: Sequence[float], decimals: int) -> str:
    """Formats the mean with half the width of its 95 % interval.

    >>> interval([0.2, 0.3], 3)
    '0.250 ± 0.635'
    """
    [half] = half_width(np.array(values)[:, None])
    return f"{mean(values):,.{decimals}f} ± {half:,.{decimals}f}"
