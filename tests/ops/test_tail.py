"""How a record looks to a program and to a person."""

import base64
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from streams.admin.tail import LAYOUTS, USER_DECODERS, is_of, json_line, terminal_text, visible
from streams.brokers.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.contract.metrics import GroundTruthMetrics, PolicyRegret, encode_metrics
from streams.contract.records import (
    JSON,
    MSGPACK,
    LoggedDecision,
    Prediction,
    Reason,
    Recommendation,
    RecommendedItem,
)
from streams.contract.settings import Settings
from streams.contract.topics import (
    CATALOGUE,
    CLICKSTREAM,
    DEAD_LETTERS,
    DECISIONS,
    METRICS,
    PREDICTIONS,
    RECOMMENDATIONS,
)
from streams.core.retrieval.shortlist import reason_of
from tests.evaluate.test_decision_explanation import decision
from tests.timeouts import HANG_S

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]\u202e"


def message(topic: str, value: bytes | None, headers: dict[str, str | bytes | None] | None = None) -> Message:
    return Message(
        topic=topic,
        partition=2,
        offset=41,
        key=b"worker-1",
        value=value,
        headers=list(headers.items()) if headers else None,
        timestamp=(1, 3_723_000),
    )


def letter(value: bytes) -> Message:
    origin: dict[str, str | bytes | None] = {"topic": b"clickstream", "partition": b"3", "offset": b"99"}
    return message(DEAD_LETTERS, value, {"reason": b"malformed", "detail": b"not JSON", **origin})


def printed(record: Message) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=200)
    console.print(terminal_text(record.topic() or "", record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def recommendation(text: str) -> bytes:
    items = [RecommendedItem(f"{text}-1", 0.25, 0.5, text), RecommendedItem("item-2", None, 1.0, "popular")]
    return JSON.encode(Recommendation(text, "clickstream-0-1", text, 3_723_000, "bandit", items, {}))


def test_a_recommendation_on_a_terminal_has_the_titles_that_are_known() -> None:
    record = message(RECOMMENDATIONS, recommendation("user-1"))
    text = terminal_text(RECOMMENDATIONS, record, {"user-1-1": "Trail \x1b[2Jshoe"}).plain
    assert "1. user-1-1  Trail \ufffd[2Jshoe  score 0.250" in text
    assert "2. item-2  score    -" in text


def event(**fields: Any) -> bytes:
    known = {"event_id": "e", "timestamp_ms": 1_736_121_600_000, "kind": "view", "user_id": "user-9"}
    return json.dumps(known | fields).encode()


def test_an_event_shows_its_item_with_its_title() -> None:
    value = event(item_id="item-7", category="shoes", price=79.9, quantity=2, position=2, decision_id="d1")
    record = message(CLICKSTREAM, value)
    shown = "00:00:00  user-9  view  item-7  Trail shoe  shoes  2 x  79.90  slot 3  d1"
    assert terminal_text(CLICKSTREAM, record, {"item-7": "Trail shoe"}).plain == shown
    assert terminal_text(CLICKSTREAM, record).plain == shown.replace("  Trail shoe", "")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"kind": "tick", "user_id": None}, "tick"),
        ({"kind": "search", "query": "red \x1b shoes"}, "user-9  search  red \ufffd shoes"),
        ({"kind": "decide", "candidates": ["a", "b"], "item_id": "c"}, "user-9  decide  c  2 candidates"),
        ({"item_id": "free", "price": 0.0}, "user-9  view  free  0.00"),
    ],
)
def test_an_event_shows_what_it_has(fields: dict[str, Any], shown: str) -> None:
    assert terminal_text(CLICKSTREAM, message(CLICKSTREAM, event(**fields))).plain == f"00:00:00  {shown}"


def test_a_logged_decision_shows_its_slate_and_what_was_left_out_with_titles() -> None:
    left_out = {"hide_purchased": ["glove", "sock"]}
    value = MSGPACK.encode(decision(slate=[2, 0], propensities=[0.25, 0.5], left_out=left_out))
    shown = terminal_text(DECISIONS, message(DECISIONS, value), {"scarf": "Red silk scarf", "sock": "Sock"}).plain
    heading, *slots, rule = shown.splitlines()
    assert heading == f"{clock(decision())}  user-7  epsilon  {decision().decision_id}  of 3 items"
    assert [" ".join(slot.split()[:-1]) for slot in slots] == ["1. scarf Red silk scarf p 0.250", "2. hat p 0.500"]
    assert [slot.split()[-1] for slot in slots] == [reason_of(decision().sources[place]) for place in (2, 0)]
    assert rule == "  left out by hide_purchased: glove, sock  Sock"


def test_a_shadow_is_for_the_log_only_and_an_empty_slate_says_so() -> None:
    value = MSGPACK.encode(decision(slate=[], propensities=[], shadow=True, left_out={}))
    heading, nothing = terminal_text(DECISIONS, message(DECISIONS, value)).plain.splitlines()
    assert heading.endswith("of 3 items, for the log only")
    assert nothing == "  nothing to recommend"


def clock(made: LoggedDecision) -> str:
    return f"{datetime.fromtimestamp(made.timestamp_ms / 1000, UTC):%H:%M:%S}"


def test_a_logged_decision_is_an_object_of_json_whose_bytes_come_back() -> None:
    found = json.loads(json_line(DECISIONS, message(DECISIONS, MSGPACK.encode(decision()))))
    assert (found["user_id"], found["shortlist"], found["slate"]) == ("user-7", ["hat", "cap", "scarf"], [2])
    assert base64.b64decode(found["features"]) == decision().features
    assert found.keys() == set(LoggedDecision.__struct_fields__)


@pytest.mark.parametrize("changed", [{"slate": [3]}, {"propensities": []}, {"sources": [99, 99, 99]}])
def test_a_decision_that_does_not_fit_together_is_shown_as_malformed(changed: dict[str, Any]) -> None:
    record = message(DECISIONS, MSGPACK.encode(decision(**changed)))
    assert terminal_text(DECISIONS, record).plain.startswith("2-41 malformed: ")


def records_of(user: str) -> dict[str, bytes]:
    """A record of a user for each topic that has any."""
    items = [RecommendedItem("hat", None, 1.0, "popular")]
    return {
        CLICKSTREAM: event(user_id=user, item_id="hat"),
        DECISIONS: MSGPACK.encode(decision(user_id=user)),
        PREDICTIONS: JSON.encode(Prediction("r", user, 1, {}, {}, {})),
        RECOMMENDATIONS: JSON.encode(Recommendation("d", "r", user, 1, "bandit", items, {})),
    }


def test_every_topic_that_is_keyed_by_user_can_be_filtered() -> None:
    keyed = {topic.called for topic in Settings().topics if topic.key == "user_id" and topic.called in LAYOUTS}
    assert keyed == set(USER_DECODERS) == set(records_of("u"))


@pytest.mark.parametrize("topic", records_of("u"))
def test_a_record_is_of_its_user_by_its_value_or_its_key(topic: str) -> None:
    for user in ("user-17", "zo\u00eb"):
        record = message(topic, records_of(user)[topic])  # its key is of somebody else
        assert is_of(user, topic, record)
        assert not is_of("user-1", topic, record)
        assert not is_of("user-7", topic, record)
    broken = message(topic, b"\xff{")
    assert is_of("worker-1", topic, broken)
    assert not is_of("user-17", topic, broken)


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for number in range(2500):
            for topic, value in records_of(f"user-{number % 100}").items():
                producer.produce(topic, value, f"user-{number % 100}".encode(), number % 4)
            if number % 500 == 0:
                producer.flush()
        for item, title in (("hat", "Straw hat"), ("scarf", "Red scarf")):
            producer.produce(CATALOGUE, json.dumps({"item_id": item, "title": title}), item, 0)
        assert not producer.flush(HANG_S)
        yield broker.bootstrap_servers


@pytest.mark.broker
@pytest.mark.parametrize("topic", records_of("u"))
def test_tail_of_a_user_prints_theirs_and_counts_only_these(
    servers: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--bootstrap-servers", servers, "tail", topic, "--from-beginning", "--user", "user-17", "--max"]
    for limit in (3, 25):
        assert run([*arguments, str(limit)]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["user_id"] for line in lines] == ["user-17"] * limit


@pytest.mark.broker
@pytest.mark.parametrize("topic", [CLICKSTREAM, DECISIONS, RECOMMENDATIONS])
def test_tail_has_titles_on_a_terminal(
    servers: str, topic: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["--bootstrap-servers", servers, "tail", topic, "--from-beginning", "--max", "1"]) == 0
    shown = Text.from_ansi(capsys.readouterr().out).plain
    assert ("scarf  Red scarf  p 0.036" if topic == DECISIONS else "hat  Straw hat") in shown


@pytest.mark.parametrize("topic", [METRICS, DEAD_LETTERS])
def test_a_topic_without_users_is_not_filtered_by_one(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tail", topic, "--user", "user-17"]) == 2
    assert "--user is for clickstream, decisions, predictions, recommendations" in capsys.readouterr().err


def ground_truth(policy: str) -> GroundTruthMetrics:
    regret = PolicyRegret(slates=5, true_ctr=0.125, best_ctr=0.25, regret=0.625, regret_per_slate=0.125)
    return GroundTruthMetrics(source="simulator", timestamp_ms=1, policies={policy: regret})


def test_json_passes_byte_for_byte() -> None:
    value = b'{"exact":0.1000000000000000055511151231257827,"name":"caf\xc3\xa9"}'
    assert json_line(METRICS, message(METRICS, value)) == value


@given(st.recursive(st.none() | st.text() | st.integers(-(2**53), 2**53), st.lists))
def test_any_json_becomes_one_line_of_the_same_json(value: object) -> None:
    line = json_line(PREDICTIONS, message(PREDICTIONS, json.dumps(value, indent=2).encode()))
    assert b"\n" not in line
    assert json.loads(line) == value


@given(st.none() | st.binary())
def test_any_bytes_become_one_line_of_json(value: bytes | None) -> None:
    for topic in (PREDICTIONS, DEAD_LETTERS, DECISIONS):
        line = json_line(topic, message(topic, value))
        assert b"\n" not in line
        json.loads(line)


def test_what_is_not_json_says_where_it_is() -> None:
    expected = {"malformed": "\ufffd{", "topic": METRICS, "partition": 2, "offset": 41}
    assert json.loads(json_line(METRICS, message(METRICS, b"\xff{"))) == expected


def test_a_dead_letter_says_what_was_wrong_and_where_it_came_from() -> None:
    assert json.loads(json_line(DEAD_LETTERS, letter(b"\xff{"))) == {
        "reason": "malformed",
        "detail": "not JSON",
        "topic": "clickstream",
        "partition": 3,
        "offset": 99,
        "value": "\ufffd{",
    }


def test_a_missing_origin_stays_unknown() -> None:
    line = json.loads(json_line(DEAD_LETTERS, message(DEAD_LETTERS, b"x")))
    assert line["reason"] is None
    assert line["offset"] is None


def test_a_recommendation_shows_its_slots_best_first() -> None:
    shown = terminal_text(RECOMMENDATIONS, message(RECOMMENDATIONS, recommendation("user-9"))).plain
    assert shown.splitlines() == [
        "01:02:03  user-9  bandit  user-9",
        "  1. user-9-1  score 0.250  p 0.500  user-9",
        "  2. item-2  score    -  p 1.000  popular",
    ]


def test_a_prediction_shows_probabilities_and_its_strongest_reasons() -> None:
    reasons = {"purchase": [Reason("carts_1h", 1.5), Reason("price", -0.25), Reason("third", 0.1)]}
    expected = {"purchase": 0.125, "cart": 0.5}
    value = JSON.encode(Prediction("r", "user-9", 3_723_000, expected, reasons, {}, {"spend": 12.345}))
    shown = terminal_text(PREDICTIONS, message(PREDICTIONS, value)).plain
    assert shown == "01:02:03  user-9  purchase 12.5% (carts_1h +1.50, price -0.25)  cart 50.0%  spend 12.35"


def test_metrics_show_every_number_by_its_path() -> None:
    value = encode_metrics(ground_truth("bandit"))
    assert terminal_text(METRICS, message(METRICS, value)).plain == (
        "01:02:03  worker-1  type ground_truth  source simulator  timestamp_ms 1  policies.bandit.slates 5  "
        "policies.bandit.true_ctr 0.125  policies.bandit.best_ctr 0.25  policies.bandit.regret 0.625  "
        "policies.bandit.regret_per_slate 0.125"
    )


@pytest.mark.parametrize("value", [b'{"type":"weather","events":5}', b'{"source":"\xff"}', b"[]", b""])
def test_what_is_no_record_of_its_topic_is_shown_as_malformed(value: bytes) -> None:
    for topic in (METRICS, PREDICTIONS, RECOMMENDATIONS, CLICKSTREAM, DECISIONS):
        assert terminal_text(topic, message(topic, value)).plain.startswith("2-41 malformed: ")


@pytest.mark.parametrize(
    "record",
    [
        message(RECOMMENDATIONS, recommendation(HOSTILE)),
        message(
            PREDICTIONS, JSON.encode(Prediction("r", HOSTILE, 1, {HOSTILE: 0.5}, {HOSTILE: [Reason(HOSTILE, 1)]}, {}))
        ),
        message(METRICS, encode_metrics(ground_truth(HOSTILE))),
        message(METRICS, json.dumps({HOSTILE: HOSTILE}).encode()),
        message(PREDICTIONS, HOSTILE.encode()),
        message(CLICKSTREAM, event(user_id=HOSTILE, item_id=HOSTILE, category=HOSTILE, decision_id=HOSTILE)),
        message(DECISIONS, MSGPACK.encode(decision(shortlist=[HOSTILE] * 3, user_id=HOSTILE, policy=HOSTILE))),
        message(DECISIONS, MSGPACK.encode(decision(left_out={HOSTILE: [HOSTILE]}))),
        message(DEAD_LETTERS, HOSTILE.encode(), {"reason": HOSTILE.encode(), "topic": HOSTILE.encode()}),
    ],
)
def test_nothing_in_a_record_steers_the_terminal(record: Message) -> None:
    shown = printed(record)
    assert "[red]" in shown  # neither is it read as markup
    assert not [sequence for sequence in ("\x1b[2J", "\x1b]", "\x07", "\u202e") if sequence in shown]


@given(st.text())
def test_visible_text_prints(text: str) -> None:
    assert all(character.isprintable() or character == "\ufffd" for character in visible(text))
    assert len(visible(text)) == len(text)
