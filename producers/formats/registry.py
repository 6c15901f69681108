"""Formats that are built in, each a TOML file beside this module."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Final

from producers.formats.format import Format
from producers.formats.mapping import load_mapping


def _built_in() -> dict[str, tuple[Format, ...]]:
    files = sorted(Path(__file__).parent.glob("*.toml"))
    formats = [Format(load_mapping(path)) for path in files]
    formats.sort(key=_family)
    return {family: tuple(own) for family, own in groupby(formats, key=_family)}


def _family(form: Format) -> str:
    return form.name.partition(".")[0]


FORMATS: Final[Mapping[str, tuple[Format, ...]]] = MappingProxyType(_built_in())
"""Formats by name; ``yoochoose.clicks`` and ``yoochoose.buys`` are two files of the format ``yoochoose``."""

AUTO: Final = "auto"
CHOICES: Final = (AUTO, *FORMATS)
"""Values of the option ``--format``."""
