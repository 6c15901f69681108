"""The experiment in force: what the global table said last, if it made sense, and the settings before that."""

import msgspec
import pytest

from streams.contract.experiment import Experiment
from streams.contract.settings import Decisions
from streams.core.experiments.assignment import RunningExperiment

SETTINGS = Decisions(shares={"random": 0.5, "bandit": 0.5})


def test_the_settings_hold_until_the_feed_says_otherwise() -> None:
    running = RunningExperiment(SETTINGS)
    assert running.current == Experiment(shares=SETTINGS.shares)
    assert running.apply(b'{"shares": {"random": 0.2, "q": 0.8}, "shadows": ["bandit"]}')
    assert running.current == Experiment(shares={"random": 0.2, "q": 0.8}, shadows=("bandit",))
    assert {running.policy_of(f"user-{user}") for user in range(50)} == {"random", "q"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `shares`"),
        (b'{"shares": {"random": "all"}}', "Expected `float`"),
        (b'{"shares": {"random": 1.5, "q": -0.5}}', "<= 1.0"),
        (b'{"shares": {"random": NaN, "q": 1.0}}', "malformed"),
        (b'{"shares": {"random": 0.5, "q": 0.4}}', "shares sum to 0.9"),
        (b'{"shares": {"q": 1.0}}', "no random"),
        (b'{"shares": {"random": 0.0, "q": 1.0}}', "no random"),
        (b'{"shares": {"random": 0.5, "oracle": 0.5}}', "oracle"),
        (b'{"shares": {"random": 1.0}, "shadows": ["oracle"]}', "oracle"),
        (b'{"shares": {"random": 1.0}, "shadows": ["q", "q"]}', "twice"),
        (b'{"shares": {"random": 1.0}, "share": 1}', "unknown field `share`"),
        (b"[" * 100_000, "malformed"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_with_a_reason_and_the_former_shares_stay(
    record: bytes, reason: str
) -> None:
    running = RunningExperiment(SETTINGS)
    before = Experiment(shares={"random": 0.9, "bandit": 0.1})
    assert running.apply(msgspec.json.encode(before))
    assert not running.apply(record)
    assert running.current == before
    assert running.refused
    assert reason in running.refused or reason == "malformed"
    assert running.apply(msgspec.json.encode(before))
    assert running.refused is None
