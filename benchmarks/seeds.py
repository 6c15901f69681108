"""The demo with one seed after another: means over the seeds, with 95 % intervals, of what its reports say.

    python -m benchmarks.seeds --seeds 10 --events 60000 --reports reports

prints a Markdown table. Reached and attainable quality stand beside each other, by target. Reports that are there
already are not made again, so that an interrupted run can be continued.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, NamedTuple

from scipy.stats import t as student

_TARGETS: Final = ("targets", "amounts")
_WHOLE: Final = ("attainable_ctr", "lift", "served_from_prior", "dropped", "latency_ms", "lag")
"""Parts of a report that are shown with all their numbers."""
_QUALITY: Final = "examples positives auc log_loss base_log_loss calibration rmse base_rmse deviance base_deviance"
_MEASURES: Final = frozenset(
    [*_QUALITY.split(), "estimate", "true_ctr", "throughput_events_per_s", "learned_share", "event_time_s"]
)
"""Of the other parts, those with these names."""


class Row(NamedTuple):
    """One line of the table: a number of the reports, and the same number of what is attainable."""

    name: str
    reached: Sequence[float]
    attainable: Sequence[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds, from 0")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--reports", type=Path, required=True, help="folder of the reports")
    arguments = parser.parse_args()
    arguments.reports.mkdir(parents=True, exist_ok=True)
    paths = [arguments.reports / f"{arguments.events}-{seed}.json" for seed in range(arguments.seeds)]
    for seed, path in enumerate(paths):
        if not path.exists():
            run_demo(seed, arguments.events, path)
    print("\n".join(table([json.loads(path.read_text("utf-8")) for path in paths])))


def run_demo(seed: int, events: int, path: Path) -> None:
    """Runs the demo, whose progress goes to standard error, and leaves its report."""
    options = ("--events", str(events), "--seed", str(seed), "--headless", "--report", str(path))
    subprocess.run([sys.executable, "-m", "streams.cli.main", "demo", *options], stdout=sys.stderr, check=True)


def table(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    r"""Draws the means of the reports' numbers, with their intervals.

    >>> report = {"targets": {"cart": {"auc": 0.6}}, "attainable": {"cart": {"auc": 0.7}}}
    >>> print("\n".join(table([report, report])))
    | over 2 seeds | reached | attainable |
    |---|---|---|
    | cart auc | 0.600 [0.600, 0.600] | 0.700 [0.700, 0.700] |
    """
    yield f"| over {len(reports)} seeds | reached | attainable |"
    yield "|---|---|---|"
    for row in rows(reports):
        yield f"| {row.name.replace('.', ' ')} | {interval(row.reached)} | {interval(row.attainable)} |"


def rows(reports: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yields the numbers of the targets, and then the others; a seed without a number is left out of it."""
    flat = [dict(numbers("", report)) for report in reports]
    names = [name for name in dict.fromkeys(name for found in flat for name in found) if _is_shown(name)]
    attainable = dict.fromkeys(name.partition(".")[2] for name in names if name.startswith("attainable."))
    for name in names:
        part, _, rest = name.partition(".")
        if part in _TARGETS:
            attainable.pop(rest, None)
            yield Row(rest, _values(flat, name), _values(flat, f"attainable.{rest}"))
    for rest in attainable:
        yield Row(rest, (), _values(flat, f"attainable.{rest}"))
    for name in names:
        if name.partition(".")[0] not in (*_TARGETS, "attainable"):
            yield Row(name, _values(flat, name), ())


def _is_shown(name: str) -> bool:
    return name.partition(".")[0] in _WHOLE or name.rpartition(".")[2] in _MEASURES


def numbers(path: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yields each number of a report with its path, the intervals of single reports left out.

    >>> list(numbers("", {"a": {"b": 1, "ci95": [0, 2]}, "c": None}))
    [('a.b', 1.0)]
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from numbers(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, int | float):
        yield path, float(value)


def interval(values: Sequence[float]) -> str:
    """Formats mean and 95 % interval (Student's t); the mean alone for one value.

    >>> interval([1.0, 2.0, 3.0])
    '2.000 [-0.484, 4.484]'
    """
    if len(values) < 2:
        return _formatted(values[0]) if values else ""
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{_formatted(mean(values))} [{_formatted(mean(values) - half)}, {_formatted(mean(values) + half)}]"


def _values(reports: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [report[name] for report in reports if name in report]


def _formatted(value: float) -> str:
    return f"{value:,.3f}" if abs(value) < 100.0 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
