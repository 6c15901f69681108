"""Running a replay against a broker, with its progress."""

import math
from pathlib import Path

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.replay.formats import FORMATS
from producers.replay.replay import ReplaySummary, parse_speed, replay
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.ops.progress import progress


def replay_shown(settings: Settings, file: Path, name: str, speed: str) -> ReplaySummary:
    """Replays ``file``, held back while the workers are behind if it runs at full speed.

    Raises:
        ConfigurationError: There is no such format or speed.
        UnreadableSource: The file is missing, or a line of it is not of the format.
    """
    if name not in FORMATS:
        raise ConfigurationError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    factor = parse_speed(speed)
    if not file.is_file():
        raise UnreadableSource(f"there is no file {file}")
    gate = LagGate(settings.kafka, group=settings.engine.app_id) if math.isinf(factor) else None
    shown = 0
    with Publisher(settings.kafka, gate) as publisher, progress(f"replaying {file.name}", "events") as advance:

        def advance_to(published: int) -> None:
            nonlocal shown
            advance(published - shown)
            shown = published

        return replay(FORMATS[name](file), publisher, factor, on_progress=advance_to)
