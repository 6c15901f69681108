"""Files as arguments of commands: formats, mappings, order, and what is reported about them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from streams.cli.main import run
from tests.producers.samples import SAMPLES

HEADER = "timestamp,visitorid,event,itemid,transactionid\n"
MINE = """
title = "mine"
[time]
column = "at"
[fields]
user_id = "who"
item_id = "what"
price = "cost"
[events]
"*" = "view"
"""


def sample(folder: Path, name: str) -> str:
    path = folder / f"{name}.txt"
    path.write_text(SAMPLES[name].write(random.Random(5)), "utf-8")
    return str(path)


def dry_run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    assert run(["replay", *arguments, "--dry-run"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)["files"], captured.err


@pytest.mark.parametrize("name", SAMPLES)
def test_a_dry_run_finds_the_format_shows_three_events_and_counts_all(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample(tmp_path, name)
    actions = SAMPLES[name].actions(Path(path).read_text("utf-8"))
    [found], said = dry_run(path, capsys=capsys)
    assert found["format"] == name
    assert sum(found["events"].values()) == len(actions)
    assert {kind: n for kind, n in found["events"].items() if n} == {
        kind: sum(action.kind == kind for action in actions) for kind in {action.kind for action in actions}
    }
    assert f"{path}: format {name}, " in said
    shown = [json.loads(line) for line in said.splitlines() if line.startswith("  {")]
    assert [event["timestamp_ms"] for event in shown] == [action.timestamp_ms for action in actions[:3]]


def test_each_of_several_files_has_its_own_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sample(tmp_path, "yoochoose.clicks"), sample(tmp_path, "yoochoose.buys")
    for more in ([], ["--format", "yoochoose"]):
        files, _ = dry_run(*paths, *more, capsys=capsys)
        assert [file["format"] for file in files] == ["yoochoose.clicks", "yoochoose.buys"]


def test_a_mapping_of_ones_own_is_read_and_its_empty_fields_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, file = tmp_path / "mine.toml", tmp_path / "log.csv"
    mine.write_text(MINE)
    file.write_text("at,who,what\n2026-01-01 12:00:00,u,i\n2026-01-01 11:00:00,u,i\n2026-01-01 13:00:00,,i\n")
    [found], said = dry_run(str(file), "--mapping", str(mine), capsys=capsys)
    assert (found["format"], found["events"], found["empty_fields"]) == ("mine", {"view": 2}, ["price"])
    assert (found["in_order"], found["left_out"]) == (False, 1)
    assert "line 4: a view needs user_id, and who has no value" in said


def test_events_of_unknown_names_are_named_and_a_strict_run_refuses_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.csv"
    file.write_text(f"{HEADER}1433221000000,1,view,2,\n1433221000000,1,swipe,2,\n")
    [found], said = dry_run(str(file), capsys=capsys)
    assert found["unknown_events"] == {"swipe": 1}
    assert "the mapping does not know the event 'swipe' (1): add it under [events]" in said
    assert run(["replay", str(file), "--dry-run", "--strict"]) == 2
    assert "line 3: the mapping does not know the event 'swipe'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["log.csv"], "log.csv is in no known format"),
        (["log.csv", "--format", "rees46"], "log.csv is not in the format rees46: there is no column event_time for"),
        (["log.csv", "--format", "excel"], "'excel' is not one of 'auto', 'diginetica', 'ga4', 'headrace'"),
        (["log.csv", "--mapping", "wrong.toml"], "wrong.toml: unknown key tytle; did you mean title?"),
        (["log.csv", "--mapping", "nowhere.toml"], "nowhere.toml: "),
        (["log.csv", "--mapping", "mine.toml", "--format", "otto"], "give one of them"),
        (["nowhere.csv"], "nowhere.csv: No such file"),
        ([], "Missing argument 'FILE...'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text("a,b\n1,2\n")
    Path("mine.toml").write_text(MINE)
    Path("wrong.toml").write_text(MINE.replace("title", "tytle"))
    for command in (["replay", "--dry-run"], ["evaluate", "pipeline"], ["evaluate", "replay"]):
        assert run([*command, *arguments]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert len(said.splitlines()) == 1


def test_a_dry_run_of_an_unknown_file_drafts_a_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, mine = tmp_path / "log.csv", tmp_path / "mine.toml"
    file.write_text("zeit,time,user,sku,action\n7,2026-01-01 12:00:00,u,i,view\n")
    assert run(["replay", str(file), "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert "is in no known format" in captured.err
    mine.write_text(captured.out)
    [found], _ = dry_run(str(file), "--mapping", str(mine), capsys=capsys)
    assert found["events"] == {"view": 1}


def test_files_of_any_order_and_format_are_evaluated_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(1_433_221_000_000 + 60_000 * n, n % 7, "addtocart" if n % 5 == 0 else "view") for n in range(300)]
    retailrocket, own = tmp_path / "events.csv", tmp_path / "own.jsonl"
    kinds = {"addtocart": "add_to_cart", "view": "view"}
    retailrocket.write_text(HEADER + "".join(f"{at},{user},{kind},1,\n" for at, user, kind in reversed(rows)))
    lines = (
        {"event_id": f"e{at}", "timestamp_ms": at, "user_id": str(user), "item_id": "1", "kind": kinds[kind]}
        for at, user, kind in rows
    )
    own.write_text("".join(json.dumps(line) + "\n" for line in lines))
    measured = []
    for path in (retailrocket, own):
        assert run(["evaluate", "pipeline", str(path)]) == 0
        captured = capsys.readouterr()
        assert ("not in the order of time, so sorted" in captured.err) == (path == retailrocket)
        measured.append(json.loads(captured.out))
    assert measured[0] == measured[1]
    assert measured[0]["cart"]["examples"] > 0


def test_models_are_measured_on_any_clickstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{1_433_221_000_000 + 60_000 * n},{n % 7},{'view' if n % 50 else 'transaction'},1," for n in range(400)]
    path = tmp_path / "events.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    arguments = ["evaluate", "models", str(path), "--dataset", "clickstream", "--seeds", "1", "--models", "linear"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["dataset"] == "clickstream"
    assert run(["evaluate", "models", "--dataset", "clickstream"]) == 2
    assert "needs the path of a file" in capsys.readouterr().err
