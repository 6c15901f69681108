"""The experiment is set and shown from the command line; what is wrong with it is said before anything is written."""

from collections.abc import Iterator

import orjson
import pytest
from confluent_kafka import Producer

from streams.brokers.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIMENTS


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        yield broker.bootstrap_servers


def shown(servers: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert run(["--bootstrap-servers", servers, "experiment", "show"]) == 0
    return dict(orjson.loads(capsys.readouterr().out))


@pytest.mark.broker
def test_what_was_set_last_is_in_force_and_a_bad_record_is_not(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults = Settings().decisions
    assert shown(servers, capsys) == {"shares": defaults.shares, "shadows": [], "refused": None}
    for share in ("0.5", "0.8"):
        rest = f"random={1 - float(share):g}"
        arguments = ["experiment", "set", rest, f"bandit={share}", "--shadow", "q"]
        assert run(["--bootstrap-servers", servers, *arguments]) == 0
    expected = {"shares": {"random": 0.2, "bandit": 0.8}, "shadows": ["q"], "refused": None}
    assert shown(servers, capsys) == expected
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(EXPERIMENTS, b'{"shares": {"random": 0.3}}', b"running")
    assert not producer.flush(10)
    assert shown(servers, capsys) == expected | {"refused": "shares sum to 0.3; they must sum to 1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["random=0.2", "bandit=0.7"], "shares sum to 0.9"),
        (["bandit=1"], "no random"),
        (["random=0.5", "oracle=0.5"], "oracle"),
        (["random=1", "--shadow", "oracle"], "shadows names unknown policies ['oracle']"),
        (["random"], "POLICY=SHARE"),
        (["random=much"], "POLICY=SHARE"),
        (["random=nan"], "POLICY=SHARE"),
        ([], "Missing argument"),
    ],
)
def test_what_is_wrong_is_said_without_asking_a_broker(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--bootstrap-servers", "127.0.0.1:1", "experiment", "set", *arguments]) == 2
    assert message in capsys.readouterr().err
