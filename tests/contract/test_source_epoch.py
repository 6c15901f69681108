"""Offsets and positions of a source that is made anew compare by epoch first."""

from hypothesis import given
from hypothesis import strategies as st

from streams.contract.records import event_ref, without_epoch
from streams.contract.source_epoch import MAX_SOURCES, AppliedPositions, epoch_of, in_epoch, plain_offset

EPOCHS, OFFSETS = st.integers(0, 1 << 14), st.integers(-1, (1 << 48) - 2)
POSITIONS = st.tuples(st.integers(0, 5), st.integers(0, 3))


@given(EPOCHS, OFFSETS, EPOCHS, OFFSETS)
def test_offsets_order_by_epoch_first_and_come_back(epoch: int, offset: int, other: int, further: int) -> None:
    number = in_epoch(epoch, offset)
    assert (epoch_of(number), plain_offset(number)) == (epoch, offset)
    assert (number < in_epoch(other, further)) == ((epoch, offset) < (other, further))


@given(EPOCHS, st.integers(0, 1 << 40))
def test_references_of_different_epochs_differ_and_end_alike(epoch: int, offset: int) -> None:
    refs = [event_ref("clickstream", 3, in_epoch(each, offset)) for each in (epoch, epoch + 1)]
    assert len(set(refs)) == 2
    assert {without_epoch(ref) for ref in refs} == {f"clickstream-3-{offset}"}


@given(st.lists(st.tuples(st.integers(0, 1), POSITIONS, st.booleans())))
def test_a_position_is_applied_once_whatever_source_ids_come_between(
    steps: list[tuple[int, tuple[int, int], bool]],
) -> None:
    """What is not above a position of the same source, or is of an older one, is applied."""
    applied, epoch, expected = AppliedPositions(), 0, dict[int, tuple[int, int, int]]()
    applied.advance("0", 2, (0, 0))
    for partition, position, is_made_anew in steps:
        epoch += is_made_anew
        source, place = str(epoch), (epoch, *position)
        last = applied.applied(source, partition)
        assert (last is not None and position <= last) == (place <= expected.get(partition, (-1, 0, 0)))
        applied.advance(source, partition, position)
        expected[partition] = max(place, expected.get(partition, place))
        assert {number: each for number, each in applied.last.items() if number != 2} == {
            number: (applied.sources.index(str(each[0])), *each[1:]) for number, each in expected.items()
        }
        if epoch:
            older = applied.applied(str(applied.sources[0]), partition)
            assert applied.sources[0] == source or (older is not None and older > (1 << 62, 0))


def test_no_number_of_ids_makes_a_row_grow_beyond_a_bound() -> None:
    applied = AppliedPositions()
    applied.advance("first", 1, (5, 0))
    for number in range(10 * MAX_SOURCES):
        applied.advance(str(number), 0, (number, 0))
        assert applied.applied(str(number), 0) == (number, 0)
        assert applied.applied(str(number), 1) is None
        assert number == 0 or applied.applied(str(number - 1), 0) > (1 << 62, 0)  # type: ignore[operator] # it has one
    assert len(applied.sources) == MAX_SOURCES


def test_a_source_without_an_id_is_the_present_one() -> None:
    applied = AppliedPositions()
    applied.advance("", 0, (7, 0))
    assert applied.applied("first", 0) == (7, 0)
    applied.advance("first", 0, (8, 0))
    assert applied.applied("", 0) == applied.applied("first", 0) == (8, 0)
    assert applied.applied("second", 0) is None
