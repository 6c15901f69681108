"""Recorded files as arguments of a command: their format, their order, and what is left out of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from streams.cli.base import Registered, notify, strict_option
from streams.contract.errors import UnreadableSource

if TYPE_CHECKING:
    from producers.formats.detection import Guess
    from producers.formats.format import Format
    from producers.replay.recording import Recording
    from producers.replay.timeline import Timeline


class FileOptions(NamedTuple):
    """Values of the options for recorded files."""

    format: str = "auto"
    mappings: tuple[Path, ...] = ()
    keep_order: bool = False
    strict: bool = False
    is_dry: bool = False
    """Whether to show the first events also where the format was given, and to draft a mapping where none is known."""


class RecordedFile(NamedTuple):
    """One file, its format, and what it has."""

    file: Path
    guess: "Guess"
    recording: "Recording"

    def summary(self) -> dict[str, Any]:
        """Returns what was found out about it."""
        from producers.event_time import shown

        recording, left_out = self.recording, self.recording.left_out
        return {
            "file": str(self.file),
            "format": self.guess.form.name,
            "events": dict(recording.kinds),
            "first": shown(recording.first_ms),
            "last": shown(recording.last_ms),
            "in_order": recording.is_ordered,
            "left_out": left_out.count,
            "unknown_events": dict(left_out.unknown),
            "skipped": dict(left_out.skipped),
            "empty_fields": self.guess.empty_fields,
        }


mapping_option: Final = click.option(
    "--mapping",
    "mappings",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Format of your own: which column is what. May be repeated, for several kinds of files.",
)

_OPTIONS: Final = (
    click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."),
    click.option(
        "--format",
        "name",
        default="auto",
        show_default=True,
        type=Registered("producers.formats.registry:CHOICES"),
        help="Format of the files; auto finds that of each by its first lines.",
    ),
    mapping_option,
    click.option("--keep-order", is_flag=True, help="Keep the order of each file, even if it is not that of time."),
    strict_option,
)


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the files and their options to a command, which gets ``files`` and ``options``."""

    @wraps(command)
    def with_options(
        *arguments: Any, name: str, mappings: tuple[Path, ...], keep_order: bool, strict: bool, **others: Any
    ) -> Any:
        options = FileOptions(name, mappings, keep_order=keep_order, strict=strict)
        return command(*arguments, options=options, **others)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


@contextmanager
def recorded(files: Sequence[Path], options: FileOptions) -> Iterator[list[RecordedFile]]:
    """Reads files to their end; says what was found out about their format, and what is left out.

    Raises:
        UnreadableSource: A file cannot be read, or is in no known format.
        ConfigurationError: A mapping is wrong.
    """
    from producers.delimited import rereadable

    candidates = formats_of(options)
    with ExitStack() as stack:
        read = []
        for number, file in enumerate(files, start=1):
            path = stack.enter_context(rereadable(file))
            part = str(number) if len(files) > 1 else ""
            read.append(_recorded_file(file, path, candidates, options, part))
        yield read


@contextmanager
def timeline_of(read: Sequence[RecordedFile], options: FileOptions) -> Iterator["Timeline"]:
    """Brings files into the order of time, and says which are sorted."""
    from producers.replay.timeline import in_order

    unordered = [str(each.file) for each in read if not each.recording.is_ordered]
    if unordered and not options.keep_order:
        notify(f"{', '.join(unordered)}: not in the order of time, so sorted; --keep-order keeps the order")
    with in_order([each.recording for each in read], keep_order=options.keep_order) as timeline:
        yield timeline


def formats_of(options: FileOptions) -> "list[Format]":
    """Returns the formats that files may have, by the options."""
    from producers.formats.format import Format
    from producers.formats.mapping import load_mapping
    from producers.formats.registry import AUTO, FORMATS

    if options.mappings:
        if options.format != AUTO:
            raise click.UsageError("--format names a built-in format, --mapping one of your own; give one of them.")
        return [Format(load_mapping(path)) for path in options.mappings]
    return [form for family in FORMATS if options.format in {AUTO, family} for form in FORMATS[family]]


def _recorded_file(file: Path, path: Path, candidates: "list[Format]", options: FileOptions, part: str) -> RecordedFile:
    from functools import partial

    from producers.delimited import LeftOut
    from producers.formats.detection import detect
    from producers.formats.draft import draft_mapping
    from producers.formats.reader import read_events
    from producers.replay.recording import examine
    from streams.observability.progress import watched

    try:
        guess = detect(path, candidates)
    except UnreadableSource:
        if options.is_dry and len(candidates) > 1:
            with suppress(UnreadableSource):
                click.echo(draft_mapping(path), nl=False)
        raise
    if options.is_dry or len(candidates) > 1:
        _show(file, guess)
    watch = partial(watched, task=f"checking {file.name}", unit="events")
    recording = examine(partial(read_events, guess.form, part=part), path, LeftOut(options.strict), watch)
    for sentence in recording.left_out.sentences(file):
        notify(sentence)
    return RecordedFile(file, guess, recording)


def _show(file: Path, guess: "Guess") -> None:
    """Shows the format that was found, and the first events."""
    from streams.contract.events import encode_event

    notify(f"{file}: format {guess.form.name}, {guess.form.mapping.title}. The first events:")
    for event in guess.examples:
        click.echo(f"  {encode_event(event).decode()}", err=True)
