"""Snapshots: learning goes on from any of them as if it had never stopped, and a rollback reads nothing twice."""

from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from streams.admin.learners import export_model, list_models, rollback_model, show_model
from streams.contract.errors import UnreadableSource
from streams.contract.settings import Settings, Window
from streams.core.learning.row import decode_learner_row
from streams.core.learning.snapshot import read_snapshot, take_snapshot
from tests.learning.test_learning_fold import SETTINGS, WHOLE, Worker, log

KEY = b"purchase"


def data_of(worker: Worker, folder: Path) -> Path:
    path = folder / "v1" / "tables" / f"learners-{worker.partition}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = Rdict(str(path), options=Options(raw_mode=True))
    for key, value in worker.rows.items():
        table[key] = value
    table.close()
    return folder


def test_learning_restarted_from_any_snapshot_ends_as_if_it_had_never_stopped() -> None:
    running = Worker()
    events = running.decode(log("purchase"))
    for cut in range(1, 20):
        running.run(events[cut - 1 : cut])
        restarted = Worker()
        restarted.rows = {KEY: read_snapshot(take_snapshot("purchase", running.rows[KEY])).row}
        # All that was ever sent comes again: the snapshot's applied positions and applied offset know what is in it.
        restarted.run(events)
        assert restarted.rows == WHOLE["purchase"].rows


def test_a_rollback_brings_back_the_parameters_and_learns_on_without_a_repeat(tmp_path: Path) -> None:
    worker = Worker()
    events = worker.decode(log("purchase"))
    worker.run(events[:8])
    early = worker.row
    size = export_model(SETTINGS, data_of(worker, tmp_path / "then"), "purchase", tmp_path / "early.snapshot")
    assert size == (tmp_path / "early.snapshot").stat().st_size
    worker.run(events[8:15])
    late, folder = worker.row, data_of(worker, tmp_path / "now")
    done = rollback_model(SETTINGS, folder, tmp_path / "early.snapshot")
    table = Rdict(str(folder / f"v1/tables/learners-{Worker().partition}.db"), options=Options(raw_mode=True))
    worker.rows = {KEY: bytes(table[KEY] or b"")}
    table.close()
    row = worker.row
    assert (row.state, row.evaluation) == (early.state, late.evaluation)
    assert (row.applied_offset, row.applied_positions, row.examples) == (
        late.applied_offset,
        late.applied_positions,
        late.examples,
    )
    assert done["version"] == row.version == late.version + 1
    worker.run(events[:15])
    assert worker.row == row
    worker.run(events[15:])
    assert all(parameters.version > late.version + 1 for parameters in worker.parameters().values())
    assert worker.row.duplicates == 0


def test_another_schema_is_refused_with_a_reason_and_what_serves_is_left_alone(tmp_path: Path) -> None:
    worker = WHOLE["purchase"]
    folder = data_of(worker, tmp_path)
    export_model(SETTINGS, folder, "purchase", tmp_path / "it.snapshot")
    other = Settings(windows=(Window(name="6m", pane_s=60, panes=6),))
    with pytest.raises(UnreadableSource, match="other features"):
        rollback_model(other, folder, tmp_path / "it.snapshot")
    assert show_model(SETTINGS, folder, "purchase")["version"] == worker.row.version


def test_a_rollback_waits_until_the_worker_has_stopped(tmp_path: Path) -> None:
    folder = data_of(WHOLE["purchase"], tmp_path)
    export_model(SETTINGS, folder, "purchase", tmp_path / "it.snapshot")
    open_elsewhere = Rdict(str(folder / f"v1/tables/learners-{Worker().partition}.db"), options=Options(raw_mode=True))
    with pytest.raises(UnreadableSource, match="stop the worker"):
        rollback_model(SETTINGS, folder, tmp_path / "it.snapshot")
    open_elsewhere.close()


def test_learners_are_listed_with_their_versions_and_losses(tmp_path: Path) -> None:
    folder = data_of(WHOLE["purchase"], tmp_path)
    (listed,) = list_models(folder)
    row = decode_learner_row(WHOLE["purchase"].rows[KEY])
    assert (listed["learner"], listed["version"], listed["examples"]) == ("purchase", row.version, row.examples)
    assert listed["log_loss"]["linear"] > 0.0


@pytest.mark.parametrize("content", [b"", b"\xc1", b"a model"])
def test_what_is_no_snapshot_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(UnreadableSource, match="not a snapshot"):
        rollback_model(SETTINGS, tmp_path, tmp_path / "it")
