"""Learners of a data directory: listed, shown, exported, and rolled back while no worker runs on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict

from streams.contract.errors import UnreadableSource
from streams.contract.settings import Settings
from streams.core.learning.learners import new_learner
from streams.core.learning.row import render_learner
from streams.core.learning.snapshot import encode_learner_row, read_snapshot, rolled_back, take_snapshot
from streams.ops.inspect import find_tables, read_row, scan_tables

TABLE = "learners"


def list_models(data_dir: Path) -> Iterator[dict[str, Any]]:
    """Yields a learner at a time: its version, examples, size, and each member's log loss, or of amounts its RMSE."""
    for partition, key, value in scan_tables(data_dir, TABLE):
        row = render_learner(key, value)
        errors = {
            measure: {name: member[measure] for name, member in row["members"].items()}
            for measure in ("log_loss", "rmse")
            if any(measure in member for member in row["members"].values())
        }
        shown = {name: row[name] for name in ("learner", "version", "examples", "timestamp_ms")}
        yield {"partition": partition, **shown, "size_bytes": len(value), **(errors or {"log_loss": {}})}


def stored_learner(settings: Settings, data_dir: Path, learner: str) -> bytes:
    """Reads the row of a learner.

    Raises:
        UnreadableSource: There is no such learner, or it has left nothing in this directory.
    """
    if learner not in settings.learners:
        raise UnreadableSource(f"there is no learner {learner!r}; there are {', '.join(settings.learners)}")
    value = read_row(data_dir, TABLE, settings.learners.index(learner), learner.encode())
    if value is None:
        raise UnreadableSource(f"{learner} has learned nothing in {data_dir} yet")
    return value


def show_model(settings: Settings, data_dir: Path, learner: str) -> dict[str, Any]:
    """Renders a learner whole: marks, quality of its members, arrays by their shape."""
    return render_learner(learner.encode(), stored_learner(settings, data_dir, learner))


def export_model(settings: Settings, data_dir: Path, learner: str, file: Path) -> int:
    """Writes a snapshot of a learner to a file and returns its size in bytes; a worker may be running."""
    snapshot = take_snapshot(learner, stored_learner(settings, data_dir, learner))
    try:
        file.write_bytes(snapshot)
    except OSError as error:
        raise UnreadableSource(f"{file}: {error.strerror}") from error
    return len(snapshot)


def rollback_model(settings: Settings, data_dir: Path, file: Path) -> dict[str, Any]:
    """Gives a learner the parameters of an exported snapshot.

    The worker that owns the learner must not be running: it alone writes the topics, and publishes what was rolled back
    to, and logs it, with the next examples that it learns.

    Raises:
        UnreadableSource: The file is no snapshot or has another schema, or a worker has the tables open.
    """
    try:
        snapshot = read_snapshot(file.read_bytes())
    except OSError as error:
        raise UnreadableSource(f"{file}: {error.strerror}") from error
    present = stored_learner(settings, data_dir, snapshot.learner)
    row = rolled_back(snapshot, present, new_learner(snapshot.learner, settings).layout)
    path = find_tables(data_dir, TABLE)[settings.learners.index(snapshot.learner)]
    try:
        table = Rdict(str(path), options=Options(raw_mode=True))
    except Exception as error:  # rocksdict raises plain Exception
        raise UnreadableSource(f"{path} cannot be written; stop the worker that has it open: {error}") from error
    try:
        table[snapshot.learner.encode()] = encode_learner_row(row)
    finally:
        table.close()
    return {"learner": snapshot.learner, "version": row.version, "examples": row.examples}
