"""``headrace evaluate retrieval``: quality of next-item prediction."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from producers.formats.format import Format
from streams.contract.errors import UnreadableSource
from streams.contract.settings import Settings
from streams.evaluation.retrieval.next_item import (
    PopularRecommender,
    Quality,
    Recommender,
    RuleRecommender,
    Visit,
    evaluate,
    scored_steps,
)
from streams.evaluation.retrieval.pipeline import PipelineRecommender
from streams.evaluation.retrieval.sessions import read_visits
from streams.observability.progress import progress

_MIN_STEPS: Final = 10
_METHODS: Final = 4
_READINGS: Final = 10_000
_SCORED_SHARE: Final = 1 / 6


def evaluate_retrieval(
    settings: Settings, files: Sequence[Path], scored: int | None, forms: Sequence[Format] = ()
) -> dict[str, Any]:
    """Evaluates the sequential rules and their baselines.

    Args:
        scored: Number of events at the end that are scored; ``None`` for the events of the last file, or a sixth of a
            single file.
        forms: Formats of files of events, whose views are the visits.

    Returns:
        The rules' figures, ``popularity`` (popular items, the same for every session), ``frozen`` (the rules, learned
        only before the scored block) and ``pipeline`` (a worker's shortlist from the items global table).

    Raises:
        UnreadableSource: A file cannot be read, or has too few sessions.
    """
    visits, in_last = read_visits(files, forms)
    default = in_last if len(files) > 1 else round(len(visits) * _SCORED_SHARE)
    n_scored = default if scored is None else scored
    first_scored = max(len(visits) - n_scored, 0)
    _refuse_too_few(files, visits, first_scored, n_scored)
    half_life_s, kept = settings.items.half_life_s, settings.items.neighbours
    with progress("evaluating retrieval", "events", _METHODS * len(visits)) as advance:

        def measure(recommender: Recommender, *, frozen: bool = False) -> Quality:
            return evaluate(recommender, visits, first_scored, _Clock(), advance, frozen=frozen)

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
    """Processor time without the cost of reading the clock, about half a microsecond a reading."""

    def __init__(self) -> None:
        begun_ns = time.thread_time_ns()
        for _ in range(_READINGS):
            time.thread_time_ns()
        self._cost_ns = (time.thread_time_ns() - begun_ns) // (_READINGS + 1)
        self._spent_ns = 0

    def __call__(self) -> int:
        self._spent_ns += self._cost_ns
        return time.thread_time_ns() - self._spent_ns


def _refuse_too_few(files: Sequence[Path], visits: Sequence[Visit], first_scored: int, n_scored: int) -> None:
    names = ", ".join(file.name for file in files)
    if n_scored >= len(visits):
        raise UnreadableSource(
            f"{names}: there are {len(visits)} events, none of them before the last {n_scored}, which are scored; give"
            " more events or a smaller --scored"
        )
    if (steps := scored_steps(visits, first_scored)) < _MIN_STEPS:
        raise UnreadableSource(
            f"{names}: too few sessions: among the last {n_scored} of {len(visits)} events there are {steps} steps from"
            f" one item to another, but at least {_MIN_STEPS} are needed"
        )
