"""A decision is found in its log by its own id or by that of its event, with its shadows, and nothing else is."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from streams.admin.logged_decisions import find_among, is_reference
from streams.brokers.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.contract.errors import UnreadableSource
from streams.contract.records import MSGPACK, LoggedDecision
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, DECISIONS
from tests.evaluate.test_decision_explanation import decision

FIRST, AGAIN, OTHER = "clickstream-3-41.0123456789ab", "clickstream-3-41.ba9876543210", "clickstream-3-4.0123456789ab"


def stored(*decisions: LoggedDecision) -> list[bytes]:
    return [MSGPACK.encode(each) for each in decisions]


def of(id_: str, **changed: Any) -> LoggedDecision:
    return decision(decision_id=id_, event_ref=id_.partition(".")[0], **changed)


def shadow(id_: str, policy: str) -> LoggedDecision:
    return of(f"{id_}/{policy}", policy=policy, shadow=True)


LOG = stored(
    shadow(OTHER, "greedy"),
    of(OTHER),
    of(FIRST),
    shadow(FIRST, "greedy"),
    of(AGAIN),
    shadow(AGAIN, "greedy"),
    shadow(AGAIN, "linucb"),
    of("clickstream-3-141.0123456789ab"),
    of("clickstream@1-3-77.0123456789ab"),
)


@pytest.mark.parametrize(
    ("reference", "id_", "shadows"),
    [
        (FIRST, FIRST, ["greedy"]),
        (AGAIN, AGAIN, ["greedy", "linucb"]),
        ("clickstream-3-41", AGAIN, ["greedy", "linucb"]),
        ("clickstream-3-4", OTHER, ["greedy"]),
        ("clickstream-3-77", "clickstream@1-3-77.0123456789ab", []),
        ("clickstream@1-3-77", "clickstream@1-3-77.0123456789ab", []),
        ("clickstream-3-77.0123456789ab", "clickstream@1-3-77.0123456789ab", []),
    ],
)
def test_a_decision_is_found_with_its_shadows(reference: str, id_: str, shadows: list[str]) -> None:
    assert is_reference(reference)
    found = find_among(Settings(), reference, [b"", b"\xff-41", *LOG, *LOG])
    assert found.decision.decision_id == id_
    assert [each.policy for each in found.shadows] == shadows


@pytest.mark.parametrize("reference", ["clickstream-3-1", "clickstream-3-41.000000000000", "clickstream-0-41"])
def test_what_is_not_in_the_log_is_said_with_its_reasons(reference: str) -> None:
    with pytest.raises(UnreadableSource, match=r"it is not in the sample \(decisions.log_rate is 1\)"):
        find_among(Settings(), reference, LOG)


@pytest.mark.parametrize("text", ["user-17", "clickstream", "clickstream-3", "clickstream-3-41-end", "views-3-41"])
def test_any_other_id_is_a_shoppers(text: str) -> None:
    assert not is_reference(text)


@pytest.fixture
def servers() -> Iterator[str]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for value in LOG:
            producer.produce(DECISIONS, value, b"user-7", 3)
        producer.produce(CATALOGUE, b'{"item_id": "scarf", "title": "Red \\u001b[2Jscarf"}', b"scarf", 0)
        assert not producer.flush(60)
        yield broker.bootstrap_servers


@pytest.mark.broker
def test_a_decision_is_explained_in_words_on_a_terminal_and_as_json_when_piped(
    servers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--bootstrap-servers", servers, "explain", FIRST]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["titles"] == {"scarf": "Red \x1b[2Jscarf"}
    sentences = found["sentences"]
    assert sentences[0] == "epsilon showed scarf (Red \x1b[2Jscarf) to user-7 in slot 1 by exploration, 4 in 100."
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    assert run(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [sentence.replace("\x1b", "\ufffd") for sentence in sentences]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == sentences
    assert run(["--bootstrap-servers", servers, "explain", "clickstream-999-1"]) == 2
    assert "has no decision clickstream-999-1" in capsys.readouterr().err


def test_a_slot_of_a_shopper_or_of_a_data_directory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "user-17", "--slot", "1"]) == 2
    assert "no decision_id or event_ref" in capsys.readouterr().err
    assert run(["explain", FIRST, "--slot", "1", "--data", "x"]) == 2
    assert "leave --data out" in capsys.readouterr().err
