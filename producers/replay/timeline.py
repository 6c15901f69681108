"""Events of one or several recordings in the order of time, in bounded memory."""

import heapq
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from producers.replay.recording import Recording
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event, encode_event

_MEMORY: Final = "64M"
_KEY_DIGITS: Final = 13
"""Milliseconds until 2100, so that the order of texts is the order of numbers."""

_decoder: Final = msgspec.json.Decoder(Event)


class Timeline(NamedTuple):
    """Recordings that are replayed as one.

    Attributes:
        name: Names of the files, for people.
        n_events: Number of events.
        streams: Functions that begin to read the events of one recording each.
    """

    name: str
    n_events: int
    streams: tuple[Callable[[], Iterator[Event]], ...]

    def events(self) -> Iterator[Event]:
        """Reads the events of all recordings, merged by time; at equal times, those of earlier recordings first."""
        return heapq.merge(*(stream() for stream in self.streams), key=lambda event: event.timestamp_ms)


@contextmanager
def in_order(recordings: Sequence[Recording], *, keep_order: bool = False) -> Iterator[Timeline]:
    """Brings recordings into the order of time; those that are not in it are sorted in temporary files.

    Args:
        keep_order: Keep the order of each file, even where it is not the order of time.

    Raises:
        UnreadableSource: A file cannot be sorted.
    """
    names = [recording.path.name for recording in recordings]
    name = names[0] if len(names) == 1 else f"{len(names)} files"
    n_events = sum(recording.n_events for recording in recordings)
    with TemporaryDirectory(prefix="headrace-") as folder:
        streams: list[Callable[[], Iterator[Event]]] = []
        for number, recording in enumerate(recordings):
            if recording.is_ordered or keep_order:
                streams.append(recording.events)
            else:
                path = Path(folder, f"sorted-{number}")
                _sort(recording.events(), path, recording.path)
                streams.append(lambda path=path: _read_sorted(path))  # type: ignore[misc]  # mypy takes it for an argument
        yield Timeline(name, n_events, tuple(streams))


def _sort(events: Iterable[Event], path: Path, origin: Path) -> None:
    """Writes events to a file in the order of time, equal times in their order, by the system's ``sort``."""
    program = shutil.which("sort")
    if program is None:
        raise UnreadableSource(f"{origin} is not in the order of time, and there is no program `sort`: sort it before")
    command = [program, "-s", "-t", "\t", "-k", "1,1", "-S", _MEMORY, "-T", str(path.parent), "-o", str(path)]
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as sorter:
        assert sorter.stdin is not None  # noqa: S101  # narrows the type
        assert sorter.stderr is not None  # noqa: S101
        try:
            with sorter.stdin as lines:
                for event in events:
                    lines.write(b"%0*d\t%b\n" % (_KEY_DIGITS, event.timestamp_ms, encode_event(event)))
        except BrokenPipeError:
            pass  # its exit code and complaint follow
        complaint = sorter.stderr.read().decode(errors="replace").strip()
    if sorter.returncode:
        raise UnreadableSource(
            f"{origin} is not in the order of time and cannot be sorted: {complaint}; TMPDIR names another folder"
        )


def _read_sorted(path: Path) -> Iterator[Event]:
    with path.open("rb") as lines:
        for line in lines:
            yield _decoder.decode(line[_KEY_DIGITS + 1 :])
