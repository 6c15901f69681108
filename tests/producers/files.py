"""Readers of files of a format, for tests that compare events."""

from collections.abc import Iterator
from pathlib import Path

from producers.delimited import STRICT, LeftOut
from producers.formats.format import Format
from producers.formats.reader import Located, read_events
from producers.formats.registry import FORMATS
from streams.contract.events import Event


def form_of(name: str) -> Format:
    """Returns a built-in format, such as ``yoochoose.buys``."""
    return next(form for forms in FORMATS.values() for form in forms if form.name == name)


def located_taobao(path: Path, left_out: LeftOut) -> Iterator[Located]:
    """Reads Alibaba's UserBehavior, each event with its line."""
    return read_events(form_of("taobao"), path, left_out)


def read_taobao(path: Path, left_out: LeftOut = STRICT) -> Iterator[Event]:
    """Reads Alibaba's UserBehavior."""
    return (event for _, event in located_taobao(path, left_out))
