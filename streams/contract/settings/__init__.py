"""The settings: one frozen tree, read from one TOML file, overridden by environment variables, passed down.

A section has its defaults and its checks beside it.
"""

from streams.contract.settings.decisions import Decisions
from streams.contract.settings.loader import dump_settings, load_settings
from streams.contract.settings.sections import (
    DEFAULT_WINDOWS,
    Admission,
    Engine,
    Http,
    Items,
    Kafka,
    Log,
    Serve,
    Time,
    Window,
)
from streams.contract.settings.targets import DEFAULT_TARGETS, Target
from streams.contract.settings.tree import Settings

__all__ = [
    "DEFAULT_TARGETS",
    "DEFAULT_WINDOWS",
    "Admission",
    "Decisions",
    "Engine",
    "Http",
    "Items",
    "Kafka",
    "Log",
    "Serve",
    "Settings",
    "Target",
    "Time",
    "Window",
    "dump_settings",
    "load_settings",
]
