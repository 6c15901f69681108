"""How a record looks to a program and to a person."""

import io
import json

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streams.admin.tail import json_line, terminal_text, visible
from streams.contract.metrics import GroundTruthMetrics, PolicyRegret, encode_metrics
from streams.contract.records import JSON, Prediction, Reason, Recommendation, RecommendedItem
from streams.contract.topics import DEAD_LETTERS, METRICS, PREDICTIONS, RECOMMENDATIONS

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
    for topic in (PREDICTIONS, DEAD_LETTERS):
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
    for topic in (METRICS, PREDICTIONS, RECOMMENDATIONS):
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
