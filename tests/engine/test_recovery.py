"""A recovery knows how far it is: by offsets, since rows and markers of transactions lie between one another."""

from streams.engine.recovery import Recovery


def test_the_share_is_of_the_offsets_and_the_rate_of_the_rows() -> None:
    recovery = Recovery(begun_s=10.0)
    assert (recovery.done, recovery.rows_per_s) == (0.0, 0.0)
    recovery = recovery.applied(rows=90, offsets=100, left=300, now_s=13.0)
    assert (recovery.done, recovery.rows_per_s) == (0.25, 30.0)
    recovery = recovery.applied(rows=290, offsets=300, left=0, now_s=14.0)
    assert (recovery.done, recovery.rows_per_s, recovery.rows) == (1.0, 95.0, 380)


def test_what_has_ended_is_done_even_where_nothing_was_read_and_takes_no_more_time() -> None:
    ended = Recovery(begun_s=10.0).ended(12.0)
    assert (ended.done, ended.seconds) == (1.0, 2.0)
    assert ended.ended(99.0) is ended
