"""The examples of docs/reference/topics.md are read as what they are."""

from typing import Final

import msgspec
import pytest

from streams.contract.catalogue import CatalogueItem, decode_catalogue_record
from streams.contract.events import Event, decode_event
from streams.contract.records import Recommendation, decode_recommendation
from tests.behaviour.small_shop import Shop
from tests.behaviour.test_decide import EXPERIENCED
from tests.docs.pages import ROOT, blocks_of

PAGE: Final = ROOT / "docs/reference/topics.md"
EXAMPLES: Final = [block.text.encode() for block in blocks_of(PAGE) if block.language == "json"]
EVENTS: Final = [example for example in EXAMPLES if b'"kind"' in example]
RECOMMENDATIONS: Final = [example for example in EXAMPLES if b'"policy"' in example]
LISTED: Final = [example for example in EXAMPLES if b'"title"' in example]


def test_a_view_its_feedback_and_a_recommendation_are_shown() -> None:
    assert [decode_event(example).kind for example in EVENTS] == ["view", "decide", "impression", "click"]
    assert [decode_recommendation(example).policy for example in RECOMMENDATIONS] == ["bandit", "q"]


def test_the_decide_is_answered_as_shown() -> None:
    shop = Shop("bandit", global_tables=EXPERIENCED)
    shop.publish(decode_event(EVENTS[1]))
    shop.fold()
    (made,) = shop.recommendations()
    assert _rounded(made) == _rounded(decode_recommendation(RECOMMENDATIONS[0]))


def _rounded(made: Recommendation) -> tuple[object, ...]:
    """What is the same on every processor: a product may differ in its last bit, and the decision's id with it."""
    items = [(item.item_id, round(item.score or 0.0, 9), round(item.propensity, 9), item.reason) for item in made.items]
    reference = made.decision_id.rpartition(".")[0]
    return made.event_ref, reference, made.event_id, made.surface, made.user_id, made.timestamp_ms, items


def test_an_item_of_a_catalogue_is_shown() -> None:
    assert {*EVENTS, *RECOMMENDATIONS, *LISTED} == {*EXAMPLES}
    assert [decode_catalogue_record(b"item-77", example) for example in LISTED]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_has_no_field_that_is_not_read(example: bytes) -> None:
    type_: type[msgspec.Struct] = Event if example in EVENTS else CatalogueItem if example in LISTED else Recommendation
    assert msgspec.json.decode(example).keys() <= set(type_.__struct_fields__)
