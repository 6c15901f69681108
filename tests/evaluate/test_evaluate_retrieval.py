"""`headrace evaluate retrieval` guesses before it learns, and says what is wrong with a file."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random

import pytest

from producers.formats.registry import FORMATS
from streams.cli.main import run
from streams.contract.settings import Settings
from streams.evaluation.retrieval.next_item import PopularRecommender, Quality, RuleRecommender, Visit, evaluate
from streams.evaluation.retrieval.report import evaluate_retrieval
from streams.evaluation.retrieval.sessions import read_visits

HEADER = "session_id,item_id,time"
ALL = [form for forms in FORMATS.values() for form in forms]


class Spy:
    """Knows what it was told, and guesses what it is asked to."""

    def __init__(self, guess: Sequence[str]) -> None:
        self.guess = guess
        self.told: list[tuple[str, list[str]]] = []
        self.asked: list[list[str]] = []

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        self.told.append((item, list(before)))

    def settle(self) -> None:
        self.asked.append([])

    def recommend(self, last_items: Sequence[str], timestamp_ms: int) -> Sequence[str]:
        self.asked[-1] = [*last_items, f"after {len(self.told)}"]
        return self.guess


def measure(spy: Spy, sessions: str, first_scored: int, *, frozen: bool = False) -> Quality:
    visits = [Visit(session, item, number) for number, (session, item) in enumerate(map(tuple, sessions.split()))]
    ticks = count()
    return evaluate(spy, visits, first_scored, lambda: 1000 * next(ticks), lambda done: None, frozen=frozen)


def test_each_step_to_another_item_is_guessed_before_it_is_learned() -> None:
    spy = Spy(["b", "c"])
    quality = measure(spy, "1a 2a 1b 1b 1c 2c 1d", 0)
    assert spy.asked == [["a", "after 2"], ["b", "a", "after 4"], ["a", "after 5"], ["c", "b", "a", "after 6"]]
    assert spy.told[-1] == ("d", ["c", "b", "a"])
    assert quality.steps == 4
    assert quality.hr_at_20 == 3 / 4
    assert quality.mrr_at_20 == (1 + 1 / 2 + 1 / 2) / 4
    assert quality.coverage == 2 / 4
    assert quality.learn_us == (7 + 4) / 7
    assert quality.query_us == 1.0


def test_only_the_scored_block_is_guessed_and_a_frozen_one_learns_only_before_it() -> None:
    spy = Spy([])
    assert measure(spy, "1a 1b 1c 1d", 2, frozen=True).steps == 2
    assert spy.asked == [["b", "a", "after 2"], ["c", "b", "a", "after 2"]]
    assert [item for item, _ in spy.told] == ["a", "b"]


@pytest.mark.parametrize("make", [lambda: RuleRecommender(86_400.0, 24), lambda: PopularRecommender(86_400.0)])
def test_lists_are_full_and_without_the_current_item(make: Callable[[], RuleRecommender | PopularRecommender]) -> None:
    recommender = make()
    for number in range(30):
        recommender.learn(f"item-{number:02d}", [f"item-{number - 1:02d}"] if number else [], 0)
    guesses = recommender.recommend(["item-29"], 0)
    assert len(guesses) == len(set(guesses)) == 20
    assert "item-29" not in guesses


def walks(n_sessions: int = 300, delimiter: str = ",", header: str = HEADER) -> str:
    """Sessions that walk around a ring of 60 items: the next item is mostly the one after the current one."""
    random = Random(3)
    lines = [header]
    for session in range(n_sessions):
        item = random.randrange(60)
        for step in range(5):
            lines.append(delimiter.join((f"s{session}", f"item-{item}", str(1_700_000_000 + 60 * session + step))))
            item = (item + (1 if random.random() < 0.9 else random.randrange(60))) % 60
    return "\n".join(lines) + "\n"


def test_rules_find_the_next_item_on_a_ring_and_what_is_popular_does_not(tmp_path: Path) -> None:
    file, report = tmp_path / "walks.csv", tmp_path / "out.json"
    file.write_text(walks())
    assert run(["evaluate", "retrieval", str(file), "--report", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["scored_events"] == 250
    assert found["steps"] >= 180
    for method in (found, found["frozen"], found["pipeline"]):
        assert method["hr_at_20"] > 0.9
        assert method["mrr_at_20"] > 0.7
        assert method["learn_us"] > 0.0
        assert method["query_us"] > 0.0
    assert found["popularity"]["hr_at_20"] < 0.6
    assert found["coverage"] == pytest.approx(1.0, abs=0.05)


def test_the_order_of_lines_does_not_matter_the_order_of_time_does(tmp_path: Path) -> None:
    lines = walks().splitlines()
    straight, shuffled = tmp_path / "straight.csv", tmp_path / "shuffled.csv"
    straight.write_text("\n".join(lines))
    body = lines[1:]
    by_session = sorted(body, key=lambda line: line.split(",")[0])
    shuffled.write_text("\n".join([lines[0], *by_session]))
    one, other = (evaluate_retrieval(Settings(), [file], 200) for file in (straight, shuffled))
    assert one["hr_at_20"] == other["hr_at_20"]
    assert one["frozen"]["mrr_at_20"] == other["frozen"]["mrr_at_20"]


def test_the_last_of_several_files_is_scored_and_the_yoochoose_columns_are_read(tmp_path: Path) -> None:
    header, *lines = walks(header="SessionId\tItemId\tTime", delimiter="\t").splitlines()
    for name, part in (("train.tsv", lines[:1000]), ("test.tsv", lines[1000:])):
        (tmp_path / name).write_text("\n".join([header, *part]))
    found = evaluate_retrieval(Settings(), [tmp_path / "train.tsv", tmp_path / "test.tsv"], None)
    assert (found["events"], found["scored_events"], found["sessions"], found["items"]) == (1500, 500, 300, 60)


def test_the_views_of_a_file_of_events_are_the_visits(tmp_path: Path) -> None:
    header, *lines = walks().splitlines()
    sessions, clicks, own = tmp_path / "sessions.csv", tmp_path / "yoochoose-clicks.dat", tmp_path / "own.jsonl"
    visits = [line.split(",") for line in lines]
    sessions.write_text("\n".join([header, *lines]))
    at = [datetime.fromtimestamp(float(time), UTC).isoformat() for *_, time in visits]
    rows = zip(visits, at, strict=True)
    clicks.write_text("".join(f"{session},{time},{item},0\n" for (session, item, _), time in rows))
    events = [
        {"event_id": f"e{n}", "user_id": f"u{session}", "session_id": session, "item_id": item, "kind": "view"}
        | {"timestamp_ms": int(float(time) * 1000)}
        for n, (session, item, time) in enumerate(visits)
    ]
    cart = events[0] | {"kind": "add_to_cart"}
    own.write_text("".join(json.dumps(event) + "\n" for event in [*events, cart]))
    assert read_visits([clicks], ALL) == read_visits([own], ALL) == read_visits([sessions])
    assert read_visits([sessions], ALL) == read_visits([sessions])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("session_id,item,time\n1,a,1\n", "has no column item_id"),
        ("", "has no column session_id"),
        (f"{HEADER}\n1,a,1\n2,b\n", "line 3: there are 2 values for 3 columns"),
        (f"{HEADER}\n1,a,soon\n", "line 2: 'soon' is not a time"),
        (f"{HEADER}\n1,a,1396860669277\n", "line 2: 1396860669277 is not a time in seconds since the epoch"),
        (f"{HEADER}\n1,a,nan\n", "line 2: nan is not a time in seconds"),
        (f"{HEADER}\n1,,1\n", "line 2: item_id is empty"),
        (f"{HEADER}\n,a,1\n", "line 2: session_id is empty"),
        (f"{HEADER}\n1,a,1\n1,b,2\n1,c,2024-01-01T10:00:00\n", "too few sessions"),
        (f"{HEADER}\n", "there are 0 events, none of them before the last"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, complaint: str
) -> None:
    file = tmp_path / "clicks.csv"
    file.write_text(content)
    assert run(["evaluate", "retrieval", str(file)]) == 2
    assert complaint in capsys.readouterr().err


def test_what_a_mapping_of_ones_own_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, mapping = tmp_path / "clicks.csv", tmp_path / "own.toml"
    file.write_text("who,what,how,when\n1,a,seen,1570000000\n")
    mapping.write_text(
        'title = "Own"\nevent_name = "how"\ntime = { column = "nope", unit = "s" }\n'
        'fields = { user_id = "who", item_id = "what" }\n[events]\nseen = "view"\n'
    )
    assert run(["evaluate", "retrieval", str(file), "--mapping", str(mapping)]) == 2
    assert "there is no column nope" in capsys.readouterr().err


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "retrieval", str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    (tmp_path / "binary.csv").write_bytes(f"{HEADER}\n".encode() + b"1,\xff\xfe,3\n")
    assert run(["evaluate", "retrieval", str(tmp_path / "binary.csv")]) == 2
    assert "UTF-8" in capsys.readouterr().err


def test_more_events_than_there_are_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "walks.csv"
    file.write_text(walks(20))
    assert run(["evaluate", "retrieval", str(file), "--scored", "100"]) == 2
    assert "smaller --scored" in capsys.readouterr().err


@pytest.mark.data
def test_the_yoochoose_sample_is_guessed_as_well_as_documented(data_dir: Path) -> None:
    files = [data_dir / "yoochoose_100k" / f"clicks_{part}.tsv" for part in ("train", "test")]
    found = evaluate_retrieval(Settings(), files, 13_568)
    assert (found["events"], found["steps"]) == (83_846, 7_526)
    assert found["hr_at_20"] >= 0.60
    assert found["mrr_at_20"] >= 0.27
    assert found["pipeline"]["hr_at_20"] >= 0.585
    assert found["pipeline"]["mrr_at_20"] >= 0.258
    assert found["popularity"]["hr_at_20"] < 0.1
    assert found["frozen"]["hr_at_20"] < found["hr_at_20"]
