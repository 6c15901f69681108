"""Detection of the format of a file by its first lines."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from producers.delimited import LeftOut, opened, parse_rows
from producers.formats.columns import mapped_fields, named_columns
from producers.formats.format import Format
from producers.formats.leaves import begins, read_leaves
from producers.formats.reader import parse_events
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event

HEAD_LINES: Final = 200
N_SHOWN: Final = 3


class Guess(NamedTuple):
    """Format of a file.

    Attributes:
        examples: Its first events.
        empty_fields: Fields that the mapping fills and that no event of the first lines has.
    """

    form: Format
    examples: tuple[Event, ...]
    empty_fields: tuple[str, ...]


class _Fit(NamedTuple):
    """Result of reading the first lines in one format."""

    form: Format
    events: list[Event]
    left_out: LeftOut
    problem: str

    @property
    def n_mapped(self) -> int:
        return len(self.events) + self.left_out.skipped.total()

    @property
    def is_possible(self) -> bool:
        """Tells whether the columns are those of the format, and no more was refused or unknown than mapped."""
        n_others = self.left_out.count + (0 if self.n_mapped else self.left_out.unknown.total())
        return not self.problem and self.n_mapped >= n_others


class _Unbounded(LeftOut):
    """Bad rows without a bound."""

    def add(self, path: Path, line: int, reason: str) -> None:
        self.count += 1
        self.shown = [*self.shown, f"line {line}: {reason}"][:N_SHOWN]


def detect(path: Path, candidates: Sequence[Format]) -> Guess:
    """Finds the format that fits the first lines of a file.

    Args:
        path: Can be read more than once.
        candidates: Formats to choose from; a single one is not questioned. JSON is not taken for delimited text.

    Raises:
        UnreadableSource: The file cannot be read, several formats fit, or none: the message says which column is
            missing for what.
    """
    with opened(path) as stream:
        head = list(islice(stream, HEAD_LINES))
    if not b"".join(head).strip():
        raise UnreadableSource(f"{path} is empty")
    is_json = begins(head, b"{", b"[")
    of_layout = [form for form in candidates if is_json == (form.mapping.layout != "delimited")]
    fits = [_fit(form, path, head) for form in of_layout or candidates]
    if len(candidates) == 1:
        if fits[0].problem:
            raise UnreadableSource(fits[0].problem)
        return _guess(fits[0])
    possible = sorted((fit for fit in fits if fit.is_possible), key=_rank, reverse=True)
    if not possible:
        raise UnreadableSource(_no_format(path, head, fits))
    best = [fit for fit in possible if _rank(fit) == _rank(possible[0])]
    if len(best) > 1:
        names = ", ".join(fit.form.name for fit in best)
        raise UnreadableSource(f"{path} fits several formats: {names}; choose one with --format or --mapping")
    return _guess(best[0])


def _guess(fit: _Fit) -> Guess:
    fields = sorted(mapped_fields(fit.form.mapping))
    empty = [field for field in fields if all(getattr(event, field) is None for event in fit.events)]
    return Guess(fit.form, tuple(fit.events[:N_SHOWN]), tuple(empty))


def _fit(form: Format, path: Path, head: list[bytes]) -> _Fit:
    left_out = _Unbounded()
    events: list[Event] = []
    try:
        for _, event in parse_events(form, path, head, left_out):
            events.append(event)
    except UnreadableSource as error:
        # A cut line, or a quote that does not end within the head, leaves what was read before.
        if not events:
            return _Fit(form, events, left_out, str(error))
    return _Fit(form, events, left_out, "")


def _rank(fit: _Fit) -> tuple[int, int]:
    return fit.n_mapped - fit.left_out.count, len(named_columns(fit.form.mapping))


def _no_format(path: Path, head: list[bytes], fits: Sequence[_Fit]) -> str:
    names = _names(path, head)
    nearest = max(fits, key=lambda fit: _overlap(fit.form, names))
    if begins(head, b"["):
        return nearest.problem
    reasons = nearest.problem.removeprefix(f"{path} ") or nearest.left_out.reasons()
    shown = ", ".join(names)[:400]
    near = f" The nearest is {nearest.form.name}: {reasons}." if _overlap(nearest.form, names) and reasons else ""
    return (
        f"{path} is in no known format ({', '.join(fit.form.name for fit in fits)}); its columns are {shown}.{near} "
        "Say which column is what with --mapping FILE.toml; `headrace replay --dry-run` drafts one"
    )


def _overlap(form: Format, names: list[str]) -> float:
    named = named_columns(form.mapping)
    return len(named & set(names)) / max(1, len(named))


def _names(path: Path, head: list[bytes]) -> list[str]:
    """Lists the columns of a file: the cells of the first row, or the paths of the first JSON object."""
    if begins(head, b"{"):
        return [column for column, value in next(read_leaves(path, head), []) if not isinstance(value, list)]
    first = next(parse_rows(path, head, _Unbounded()), None)
    return first.cells if first else []
