"""A worker that writes down when each of its batches took which step: ``python -m benchmarks.traced_worker FOLD FILE``.

A line a batch, JSON: its source and partition, the broker's timestamps of its records, and the times at which it was
fetched, begun, and through each step; milliseconds, UTC.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from time import time
from typing import Any, Final, TextIO

import faust
import orjson

from benchmarks.counting import build_counting_app
from streams.app import build_app
from streams.contract.settings import load_settings
from streams.engine import protocol, worker
from streams.engine.transport import BatchConsumerThread

_passed: Final[ContextVar[dict[str, float]]] = ContextVar("_passed")
_fetched_ms: Final[dict[tuple[str, int, int], float]] = {}


def main() -> None:
    fold, path = sys.argv[1:]
    settings = load_settings(environment=os.environ)
    with Path(path).open("w", encoding="utf-8", buffering=1 << 16) as file:
        trace_fetches()
        trace_batches(file)
        app = build_counting_app(settings) if fold == "counting" else build_app(settings)
        app.finalize()
        try:
            faust.Worker(app, loglevel="error").execute_from_commandline()
        finally:
            file.flush()


def trace_fetches() -> None:
    fetch = BatchConsumerThread._fetch_records

    async def traced(self: Any, *arguments: Any, **options: Any) -> Any:
        batches = await fetch(self, *arguments, **options)
        now_ms = time() * 1000
        _fetched_ms.update({(tp.topic, tp.partition, batch.end): now_ms for tp, batch in batches.items()})
        return batches

    BatchConsumerThread._fetch_records = traced  # type: ignore[method-assign]


def trace_batches(file: TextIO) -> None:
    """Notes the steps of each batch; that it was fetched is known by its last offset, markers aside."""
    commit, passed = protocol.commit_batch, protocol._StepClock.passed

    async def traced(
        engine: Any, partition: Any, records: Sequence[Any], acknowledge: Callable[[], object], *rest: Any
    ) -> None:
        steps = {"begun": time() * 1000}
        _passed.set(steps)
        await commit(engine, partition, records, acknowledge, *rest)
        place = engine.fold.source, partition.number
        ends = [end for topic, number, end in list(_fetched_ms) if (topic, number) == place]
        known = min((end for end in ends if records and end > records[-1].offset), default=0)
        line = {
            "source": place[0],
            "partition": place[1],
            "timestamps": [record.timestamp for record in records],
            "fetched": _fetched_ms[*place, known] if known else steps["begun"],
            **steps,
        }
        for end in ends:
            if end <= known:
                del _fetched_ms[*place, end]
        file.write(orjson.dumps(line).decode() + "\n")

    def note(self: Any, step: protocol.Step) -> None:
        passed(self, step)
        _passed.get()[step] = time() * 1000

    # The worker imports the function by name, so it is replaced there; it may be generic, the trace need not be.
    worker.commit_batch = traced  # type: ignore[attr-defined, assignment]
    protocol._StepClock.passed = note  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
