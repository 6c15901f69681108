"""Recorded files: rows that are left out, and times that no event can have had."""

import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.delimited import STANDARD_INPUT, STRICT, LeftOut, rereadable
from producers.formats.reader import Located
from producers.replay.recording import IMPLAUSIBLE_SHARE, Recording, examine, plausible_range
from streams.contract.errors import UnreadableSource
from tests.producers.files import located_taobao

DAY = 1440
BEGIN_S = 1_511_600_000


def lines(n: int) -> list[str]:
    return [f"{number % 7},{number % 5},1,pv,{BEGIN_S + number}" for number in range(n)]


def examined(folder: Path, rows: list[str], left_out: LeftOut) -> Recording:
    path = folder / "behavior.csv"
    path.write_text("\n".join(rows) + "\n", "ascii")
    return examine(located_taobao, path, left_out)


@given(
    st.lists(st.integers(20, 200), min_size=5, max_size=30),
    st.lists(st.integers(1, 10_000 * DAY), max_size=4),
    st.lists(st.integers(1, 10_000 * DAY), max_size=4),
)
def test_a_few_times_beyond_a_long_gap_never_move_the_range_of_the_others(
    of_days: list[int], before: list[int], after: list[int]
) -> None:
    usual = Counter({day * DAY: count for day, count in enumerate(of_days)})
    few = int(usual.total() * IMPLAUSIBLE_SHARE)
    last = max(usual)
    wild = [-last - DAY - minutes for minutes in before[:few]] + [2 * last + DAY + minutes for minutes in after[:few]]
    assert plausible_range(usual + Counter(wild)) == plausible_range(usual) == (0, last)


@given(st.lists(st.integers(1, DAY), min_size=1, max_size=200), st.data())
def test_a_recording_without_a_gap_of_a_day_is_plausible_from_end_to_end(gaps: list[int], data: st.DataObject) -> None:
    minutes = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    counts = data.draw(st.lists(st.integers(1, 100), min_size=len(minutes), max_size=len(minutes)))
    assert plausible_range(Counter(dict(zip(minutes, counts, strict=True)))) == (minutes[0], minutes[-1])


@pytest.mark.parametrize("seconds", [-2_000_000_000, 0, 4_000_000, BEGIN_S + 24_000_000, 2_100_000_000, 9_999_999_999])
@pytest.mark.parametrize("place", [0, 61, 600])
def test_a_wild_time_is_left_out_and_changes_nothing_else(seconds: int, place: int, tmp_path: Path) -> None:
    rows = lines(600)
    rows.insert(place, f"3,1,1,pv,{seconds}")
    left_out = LeftOut()
    read = [(event.user_id, event.timestamp_ms) for event in examined(tmp_path, rows, left_out).events()]
    assert left_out.count == 1
    assert left_out.shown[0].startswith(f"line {place + 1}: ")
    assert read == [(event.user_id, event.timestamp_ms) for event in examined(tmp_path, lines(600), STRICT).events()]


def test_each_reading_of_the_check_is_watched_and_what_is_left_of_it_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "behavior.csv"
    for wild in ([], ["3,1,1,pv,2100000000"]):
        path.write_text("\n".join([*lines(50), *wild]) + "\n", "ascii")
        seen: list[list[str]] = []

        def watch(events: Iterator[Located], seen: list[list[str]] = seen) -> Iterator[Located]:
            seen.append([])
            for located in events:
                seen[-1].append(located.event.event_id)
                yield located

        recording = examine(located_taobao, path, LeftOut(), watch)
        assert recording.n_events == len(list(recording.events())) == 50
        assert seen == [[f"taobao-{line + 1}" for line in range(50 + len(wild))]] * (1 + len(wild))


def test_a_strict_reader_refuses_a_wild_time_before_anything_is_used(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="line 51: the time 2036-07-18 13:20 is implausible"):
        examined(tmp_path, [*lines(50), "3,1,1,pv,2100000000"], STRICT)


@pytest.mark.parametrize("end", range(1, 20))
def test_a_file_that_was_cut_anywhere_in_its_last_line_is_refused(end: int, tmp_path: Path) -> None:
    path = tmp_path / "behavior.csv"
    path.write_text("\n".join(lines(50))[:-end], "ascii")
    if path.read_text("ascii").endswith("\n"):
        examine(located_taobao, path, STRICT)
        return
    with pytest.raises(UnreadableSource, match="line 50, the last one, has no end"):
        examine(located_taobao, path, LeftOut())


def test_a_file_of_another_format_is_refused_and_the_columns_that_it_lacks_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UnreadableSource, match=r"not in the format taobao: there is no column behavior, .*, user_id for"
    ):
        examined(tmp_path, ["timestamp,visitorid,event,itemid,transactionid", "1433221000000,257,view,355,"], LeftOut())


def test_standard_input_is_read_as_often_as_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO("\n".join(lines(30)).encode())

    monkeypatch.setattr(sys, "stdin", Input())
    with rereadable(STANDARD_INPUT) as path:
        recording = examine(located_taobao, path, STRICT)
        assert len(list(recording.events())) == len(list(recording.events())) == 30
