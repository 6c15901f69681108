"""What the benchmark of rebalances makes of what it saw."""

from benchmarks.rebalancing import LATE_S, Waited, answers, judged
from tests.chaos.oracle import Verdict


def test_what_waited_before_the_step_and_what_waited_as_ever_are_no_part_of_it() -> None:
    prompt = [Waited(0, 11.0, 11.0 + LATE_S), Waited(1, 5.0, 9.9)]
    assert answers(prompt, begun_s=10.0) == {
        "all_answer_again_s": 0.0,
        "unanswered_s": 0.0,
        "unanswered_partitions": 0,
    }


def test_partitions_answer_again_when_the_last_late_answer_has_come() -> None:
    late = [Waited(0, 9.5, 14.0), Waited(0, 11.0, 14.0), Waited(1, 12.0, 15.5), Waited(2, 15.0, 15.1)]
    assert answers(late, begun_s=10.0) == {
        "all_answer_again_s": 5.5,
        "unanswered_s": 4.5,
        "unanswered_partitions": 2,
    }


def test_a_step_answers_for_what_it_added() -> None:
    before = Verdict(lost=1, duplicated=0, differing_rows=3, misordered=0, ahead=0, lag=0, events=100)
    found = judged(before._replace(lost=2, events=150, lag=4), before)
    assert (found["lost"], found["differing_rows"], found["events"], found["lag"]) == (1, 0, 50, 4)
