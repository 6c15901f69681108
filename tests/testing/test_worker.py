"""A worker in memory is cut off where it is told to be, and goes on as a real one would."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.wordcount import Count, WordCount
from streams.contract.fold import PARTITION_KEY
from streams.contract.outputs import Output
from streams.engine.protocol import STEPS, Step
from streams.testing import Crash, Crashed, MemoryRecord, MemoryTable, MemoryTopics, MemoryWorker

WORDS = b"a rose is a rose is a rose".split()
TOPICS = {"words": 4, "word-counts": 4}


def published(words: list[bytes], partitions: int = 4) -> MemoryTopics:
    topics = MemoryTopics(dict.fromkeys(TOPICS, partitions))
    topics.extend(Output("words", word, word) for word in words)
    return topics


def counts(worker: MemoryWorker[bytes, Count]) -> dict[bytes, int]:
    return {key: worker.fold.decode_row(row).times for (_, key), row in worker.rows().items()}


def delivered(topics: MemoryTopics) -> int:
    return sum(len(records) for (topic, _), records in topics.records.items() if topic != "words")


crashes = st.builds(Crash, st.sampled_from(STEPS), st.none() | st.integers(0, 6))


@given(
    st.lists(st.sampled_from(WORDS), max_size=30),
    st.lists(st.tuples(crashes, st.integers(1, 9), st.booleans()), max_size=5),
)
def test_the_example_counts_every_word_once_wherever_it_is_cut_off(
    words: list[bytes], interruptions: list[tuple[Crash, int, bool]]
) -> None:
    topics = published(words)
    worker = MemoryWorker(WordCount(), topics)
    for crash, batch_records, empty_table in interruptions:
        try:
            worker.drain(batch_records, crash)
        except Crashed:
            worker.restart(empty_table=empty_table)
    worker.drain()
    assert counts(worker) == Counter(words)
    assert {value for key, value in last_outputs(topics).items()} == {b"%d" % n for n in Counter(words).values()}
    assert [row.applied_offset + 1 for row in worker.partition_rows()] == [
        len(topics.records["words", number]) for number in range(4) if topics.records["words", number]
    ]


def last_outputs(topics: MemoryTopics) -> dict[bytes | None, bytes | None]:
    return {r.key: r.value for number in range(4) for r in topics.records["word-counts", number]}


ROWS = len(set(WORDS)) + 1
"""In one partition: those of the words, and the partition's."""
OUTPUTS = len(set(WORDS))


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_after_a_step_leaves_what_the_steps_before_it_have_delivered(step: Step) -> None:
    topics = published(WORDS, partitions=1)
    worker = MemoryWorker(WordCount(), topics)
    with pytest.raises(Crashed):
        worker.step(0, crash=Crash(step))
    n_passed = STEPS.index(step) + 1
    outputs = OUTPUTS if n_passed > STEPS.index("emit") else 0
    assert delivered(topics) == outputs + (ROWS if n_passed > STEPS.index("log") else 0)
    assert bool(worker.rows()) == (n_passed > STEPS.index("store"))
    assert worker.committed[0] == (len(WORDS) if step == "acknowledge" else 0)


@pytest.mark.parametrize("records", range(OUTPUTS + ROWS + 2))
def test_a_crash_within_a_delivery_leaves_so_many_records_or_the_whole_batch(records: int) -> None:
    topics = published(WORDS, partitions=1)
    worker = MemoryWorker(WordCount(), topics)
    if records < OUTPUTS + ROWS:
        with pytest.raises(Crashed):
            worker.step(0, crash=Crash("fold", records))
        assert worker.committed[0] == 0
    else:
        assert worker.step(0, crash=Crash("fold", records)) == len(WORDS)
    assert delivered(topics) == min(records, OUTPUTS + ROWS)


def test_records_are_counted_from_the_step_on() -> None:
    topics = published(WORDS, partitions=1)
    with pytest.raises(Crashed):
        MemoryWorker(WordCount(), topics).step(0, crash=Crash("emit", 1))
    assert len(topics.records["word-counts", 0]) == OUTPUTS
    assert len(topics.records["word-counts-changelog", 0]) == 1


def test_a_crash_is_that_of_its_batch_alone() -> None:
    worker = MemoryWorker(WordCount(), published(WORDS, partitions=1))
    assert worker.step(0, 1, Crash("fold", 100)) == 1
    assert worker.drain(1) == len(WORDS) - 1


@pytest.mark.parametrize("empty_table", [False, True])
def test_a_new_process_reads_what_is_on_the_disk_and_no_changelog_record_twice(empty_table: bool) -> None:
    topics = published(WORDS, partitions=1)
    worker = MemoryWorker(WordCount(), topics)
    worker.drain(1)
    worker.restart(empty_table=empty_table)
    assert counts(worker) == Counter(WORDS)
    worker.table.rows[0][b"rose"] = worker.fold.encode_row(Count(7, 0, 99))
    worker.restart()
    topics.append(Output("words", b"is", b"is"))
    worker.drain()
    worker.restart()
    assert counts(worker) == {b"a": 3, b"rose": 99, b"is": 3}


def test_of_two_rows_in_the_changelog_the_one_with_the_higher_applied_offset_stays() -> None:
    newer, stale = (msgspec.msgpack.encode(Count(offset, 0, offset)) for offset in (5, 3))
    table = MemoryTable()
    table.recover(0, [MemoryRecord(0, 0, b"rose", newer), MemoryRecord(1, 0, b"rose", stale)])
    assert table.rows[0] == {b"rose": newer}


def test_records_can_be_delivered_again() -> None:
    topics = published(WORDS, partitions=1)
    worker = MemoryWorker(WordCount(), topics)
    worker.drain()
    worker.committed[0] = 2
    assert worker.drain() == len(WORDS) - 2
    assert counts(worker) == Counter(WORDS)
    assert worker.row(b"violet") is None
    assert PARTITION_KEY not in {key for _, key in worker.rows()}
