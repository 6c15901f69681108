"""Learners of a data directory: list, show, export, and, while no worker runs on it, roll back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict

from streams.admin.inspection import find_tables, read_row, scan_tables
from streams.contract.errors import UnreadableSource
from streams.contract.records import MSGPACK
from streams.contract.settings import Settings
from streams.core.learning.learners import new_learner
from streams.core.learning.row import learner_view
from streams.core.learning.snapshot import read_snapshot, rolled_back, take_snapshot

TABLE = "learners"


def list_models(data_dir: Path) -> Iterator[dict[str, Any]]:
    """Yields each learner: its version, examples, size, and each model's log loss (of an amount, its RMSE)."""
    for partition, key, value in scan_tables(data_dir, TABLE):
        row = learner_view(key, value)
        errors = {
            measure: {name: model[measure] for name, model in row["models"].items()}
            for measure in ("log_loss", "rmse")
            if any(measure in model for model in row["models"].values())
        }
        shown = {name: row[name] for name in ("learner", "version", "examples", "timestamp_ms")}
        yield {"partition": partition, **shown, "size_bytes": len(value), **(errors or {"log_loss": {}})}


def stored_learner(settings: Settings, data_dir: Path, learner: str) -> bytes:
    """Reads the row of a learner.

    Raises:
        UnreadableSource: There is no such learner, or no row of it in this directory.
    """
    if learner not in settings.learners:
        raise UnreadableSource(f"there is no learner {learner!r}; known: {', '.join(settings.learners)}")
    value = read_row(data_dir, TABLE, settings.partition_of_learner(learner), learner.encode())
    if value is None:
        raise UnreadableSource(f"{learner} has learned nothing in {data_dir} yet")
    return value


def show_model(settings: Settings, data_dir: Path, learner: str) -> dict[str, Any]:
    """Returns a learner as plain values: applied positions, quality of its models, shapes of its arrays."""
    return learner_view(learner.encode(), stored_learner(settings, data_dir, learner))


def export_model(settings: Settings, data_dir: Path, learner: str, file: Path) -> int:
    """Writes a snapshot of a learner to a file and returns its size in bytes; a worker may be running."""
    snapshot = take_snapshot(learner, stored_learner(settings, data_dir, learner))
    try:
        file.write_bytes(snapshot)
    except OSError as error:
        raise UnreadableSource(f"{file}: {error.strerror}") from error
    return len(snapshot)


def rollback_model(settings: Settings, data_dir: Path, file: Path) -> dict[str, Any]:
    """Restores a learner's parameters from an exported snapshot.

    The worker that owns the learner must not be running. It alone writes the topics: with the next examples that it
    learns, it logs and publishes the restored parameters.

    Raises:
        UnreadableSource: The file is not a snapshot or has another layout, or a worker has the tables open.
    """
    try:
        snapshot = read_snapshot(file.read_bytes())
    except OSError as error:
        raise UnreadableSource(f"{file}: {error.strerror}") from error
    present = stored_learner(settings, data_dir, snapshot.learner)
    row = rolled_back(snapshot, present, new_learner(snapshot.learner, settings).layout)
    path = find_tables(data_dir, TABLE)[settings.partition_of_learner(snapshot.learner)]
    try:
        table = Rdict(str(path), options=Options(raw_mode=True))
    except Exception as error:  # rocksdict raises plain Exception
        raise UnreadableSource(f"{path} cannot be opened; stop the worker that has it open: {error}") from error
    try:
        table[snapshot.learner.encode()] = MSGPACK.encode(row)
    finally:
        table.close()
    return {"learner": snapshot.learner, "version": row.version, "examples": row.examples}
