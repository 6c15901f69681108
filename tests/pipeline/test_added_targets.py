"""A target that is added at the end changes nothing of the others, and has what it needs."""

from typing import Final

from msgspec.structs import replace

from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM
from streams.testing import MemoryRecord, Pipeline
from tests.pipeline.shop_log import SETTINGS, shop

FEWER: Final = replace(SETTINGS, targets=SETTINGS.targets[:-2])


def folded(log: dict[int, list[MemoryRecord]], then: Settings) -> Pipeline:
    """Folds the first half of a log with few targets, and the rest on the same rows with other settings."""
    first = Pipeline(FEWER)
    for partition, records in log.items():
        first.topics.records[CLICKSTREAM, partition] = records[: len(records) // 2]
    first.behaviour.drain(7)
    second = Pipeline(then)
    second.topics.records |= first.topics.records
    for partition, records in log.items():
        second.topics.records[CLICKSTREAM, partition] = list(records)
    second.behaviour.table = first.behaviour.table
    second.behaviour.committed = first.behaviour.committed
    second.behaviour.restart()
    second.behaviour.drain(7)
    second.learn()
    return second


def test_open_predictions_come_out_as_if_the_added_target_were_not_there_and_it_learns_from_then_on() -> None:
    shown = Pipeline(SETTINGS)
    shop(shown, 200)
    few, more = folded(shown.log, FEWER), folded(shown.log, SETTINGS)
    # Nothing is shown again, so that there are no clicks.
    for target in (each for each in FEWER.targets if each.label != "click"):
        assert few.examples(target.name)
        # As text, since NaN stands for a model that was not there.
        assert repr(few.examples(target.name)) == repr(more.examples(target.name))
        assert few.outcomes(target.name) == more.outcomes(target.name)
        key = target.name.encode()
        before, after = few.learning.row(key), more.learning.row(key)
        assert before is not None
        assert after is not None
        assert (before.state, before.examples) == (after.state, after.examples)
    for target in SETTINGS.targets[-2:]:
        assert more.outcomes(target.name)
        assert more.learning.row(target.name.encode()) is not None
