"""Where processor time goes: functions are wrapped while a benchmark runs, and each is charged what it does itself."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any


class Stages:
    """Time by stage, exclusive: what a wrapped function calls that is wrapped, too, counts there only.

    Attributes:
        ns: Nanoseconds by stage.
    """

    def __init__(self) -> None:
        self.ns: dict[str, int] = defaultdict(int)
        self._inner_ns = [0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function, charging the stage whenever it is called."""
        ns, inner_ns = self.ns, self._inner_ns

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            inner_ns.append(0)
            begun_ns = perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                spent_ns = perf_counter_ns() - begun_ns
                ns[stage] += spent_ns - inner_ns.pop()
                inner_ns[-1] += spent_ns

        return wrapped

    def us_per(self, events: int) -> dict[str, float]:
        """Divides by a number of events, the largest stage first."""
        return {
            stage: round(spent / 1000 / events, 2)
            for stage, spent in sorted(self.ns.items(), key=lambda entry: -entry[1])
        }


class _TimedEncoder:
    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self.encode = encode


@contextmanager
def watched(stages: Stages, functions: Mapping[tuple[Any, str], str]) -> Iterator[None]:
    """Charges functions to stages for a while: ``(owner, attribute)`` to the stage; encoders by their ``encode``."""
    originals = [(owner, name, getattr(owner, name)) for owner, name in functions]
    try:
        for owner, name, original in originals:
            stage = functions[owner, name]
            encode = getattr(original, "encode", None)
            timed: Any = _TimedEncoder(stages.timed(stage, encode)) if encode else stages.timed(stage, original)
            setattr(owner, name, timed)
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
