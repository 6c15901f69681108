"""The formats that can be replayed."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from producers.replay.taobao import read_taobao
from streams.contract.events import Event

Reader = Callable[[Path], Iterator[Event]]
"""Reads a file lazily; raises ``UnreadableSource`` at the first line that is not of the format."""

FORMATS: Final[Mapping[str, Reader]] = MappingProxyType({"taobao": read_taobao})
