"""``headrace evaluate retrieval``: how well the next item of a session is guessed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from streams.contract.errors import UnreadableSource
from streams.contract.settings import Settings
from streams.core.retrieval.evaluation import (
    PopularRecommender,
    Quality,
    Recommender,
    RuleRecommender,
    Visit,
    evaluate,
    scored_steps,
)
from streams.ops.evaluate.pipeline import PipelineRecommender
from streams.ops.evaluate.sessions import read_visits
from streams.ops.progress import Advance, progress

_FEWEST_STEPS: Final = 10
_METHODS: Final = 4
_READINGS: Final = 10_000
_SCORED_SHARE: Final = 1 / 6


def evaluate_retrieval(settings: Settings, files: Sequence[Path], scored: int | None) -> dict[str, Any]:
    """Evaluates the rules, test then learn, and beside them what they must beat.

    Args:
        scored: So many events at the end are scored; ``None`` for as many as the last of several files has, and a
            sixth of a single one.

    Returns:
        The rules' figures, ``popularity`` (what is popular, whatever the session), ``frozen`` (the rules, learned only
        before the scored block) and ``pipeline`` (the shortlist that a worker makes of the items feed).

    Raises:
        UnreadableSource: A file cannot be read, or has too few sessions.
    """
    visits, in_last = read_visits(files)
    default = in_last if len(files) > 1 else round(len(visits) * _SCORED_SHARE)
    n_scored = default if scored is None else scored
    first_scored = max(len(visits) - n_scored, 0)
    _refuse_too_few(files, visits, first_scored, n_scored)
    half_life_s, kept = settings.items.half_life_s, settings.items.neighbours
    with progress("evaluating retrieval", "events", _METHODS * len(visits)) as advance:

        def measure(recommender: Recommender, *, frozen: bool = False) -> Quality:
            return _measure(recommender, visits, first_scored, advance, frozen=frozen)

        return {
            **measure(RuleRecommender(half_life_s, kept))._asdict(),
            "popularity": measure(PopularRecommender(half_life_s))._asdict(),
            "frozen": measure(RuleRecommender(half_life_s, kept), frozen=True)._asdict(),
            "pipeline": measure(PipelineRecommender(settings))._asdict(),
            "events": len(visits),
            "scored_events": n_scored,
            "sessions": len({visit.session_id for visit in visits}),
            "items": len({visit.item_id for visit in visits}),
        }


class _Clock:
    """Processor time less what reading it takes, which is about half a microsecond a time."""

    def __init__(self) -> None:
        begun_ns = time.thread_time_ns()
        for _ in range(_READINGS):
            time.thread_time_ns()
        self._cost_ns = (time.thread_time_ns() - begun_ns) // (_READINGS + 1)
        self._spent_ns = 0

    def __call__(self) -> int:
        self._spent_ns += self._cost_ns
        return time.thread_time_ns() - self._spent_ns


def _measure(
    recommender: Recommender, visits: Sequence[Visit], first_scored: int, advance: Advance, *, frozen: bool
) -> Quality:
    return evaluate(recommender, visits, first_scored, _Clock(), advance, frozen=frozen)


def _refuse_too_few(files: Sequence[Path], visits: Sequence[Visit], first_scored: int, n_scored: int) -> None:
    names = ", ".join(file.name for file in files)
    if n_scored >= len(visits):
        raise UnreadableSource(
            f"{names}: there are {len(visits)} events, and nothing would be left to learn from before the last"
            f" {n_scored} are scored; give more events or a smaller --scored"
        )
    if (steps := scored_steps(visits, first_scored)) < _FEWEST_STEPS:
        raise UnreadableSource(
            f"{names}: too few sessions: among the last {n_scored} of {len(visits)} events there are {steps} steps from"
            f" one item to another, and it takes {_FEWEST_STEPS}"
        )
