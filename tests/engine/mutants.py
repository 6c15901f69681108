"""Wrong versions of the engine: each takes away one of the mechanisms that tests must be able to miss."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from streams.contract.fold import PartitionRow
from streams.engine import protocol
from tests.engine.counting import CountingFold, State


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Runs what is inside with one mechanism taken away; an empty name takes none."""
    with ExitStack() as stack:
        for owner, attribute, wrong in {**MUTANTS, **STALLS}[name]() if name else ():
            stack.enter_context(replaced(owner, attribute, wrong))
        yield


@contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Puts another value in the place of an attribute, for a while."""
    original = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, original)


Replacements = list[tuple[Any, str, Any]]


def without_row_guards() -> Replacements:
    return [(CountingFold, "skips", lambda self, offset, row: False)]


def without_partition_rows() -> Replacements:
    return [
        (CountingFold, "open", lambda self, row, partition, rows: State(PartitionRow(schema=row.schema), partition))
    ]


def log_before_emit() -> Replacements:
    fold, emit, log = protocol.fold, protocol.emit, protocol.log
    folded: list[Any] = []
    held: list[Any] = []

    def remember(engine: Any, partition: Any, *arguments: Any, **options: Any) -> Any:
        outputs, changed, encoded = fold(engine, partition, *arguments, **options)
        folded[:] = [partition, encoded]
        return outputs, changed, encoded

    async def log_first(engine: Any, partition: Any, outputs: Any) -> None:
        held[:] = outputs
        await log(engine, *folded)

    async def emit_second(engine: Any, partition: Any, encoded: Any) -> None:
        await emit(engine, partition, held)

    return [(protocol, "fold", remember), (protocol, "emit", log_first), (protocol, "log", emit_second)]


def stuck() -> Replacements:
    return [(CountingFold, "fold", lambda self, state, events, rows: time.sleep(3600))]


MUTANTS: Final[dict[str, Callable[[], Replacements]]] = {
    "guard": without_row_guards,
    "partition-row": without_partition_rows,
    "order": log_before_emit,
}
STALLS: Final[dict[str, Callable[[], Replacements]]] = {"stuck": stuck}
"""Not wrong, but standing still."""
