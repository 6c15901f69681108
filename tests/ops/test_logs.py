"""What a worker says: a line an incident with what to do, and libraries that cannot drown it."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest

from streams.engine.incidents import REBALANCE_ENDS, report
from streams.observability.alerts import DEAD_LETTERS
from streams.observability.logs import JsonLines, KeyValues, RepeatFilter, log_configuration


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What is logged as text, with the worker's own filter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValues())
    handler.addFilter(RepeatFilter())
    loggers = [logging.getLogger(name) for name in ("streams.engine.incidents", "library")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def test_an_incident_is_one_line_with_its_facts_and_what_to_do(said: io.StringIO) -> None:
    report(DEAD_LETTERS, topic="clickstream", reason="malformed", records=3)
    report(REBALANCE_ENDS, partitions=4)
    first, second = said.getvalue().splitlines()
    assert 'level=warning incident=dead-letters topic=clickstream reason=malformed records=3 todo="' in first
    assert second.endswith("level=info incident=rebalance-ends partitions=4")


def test_nothing_that_is_logged_breaks_the_line(said: io.StringIO) -> None:
    report(DEAD_LETTERS, topic='a\n=b "c"', reason="\x1b[2J", records="")
    try:
        raise ValueError("two\nlines")  # noqa: TRY301 - its traceback is what is logged
    except ValueError:
        logging.getLogger("library").exception("failed\nbadly")
    lines = said.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert "Traceback" in lines[1]


def test_a_library_says_the_same_thing_ever_more_seldom_and_then_how_often() -> None:
    bounded = RepeatFilter()

    def passes(at_s: float, message: str = "no connection to %s", **extra: str) -> int | None:
        record = logging.makeLogRecord({"name": "library", "msg": message, "created": at_s, **extra})
        return record.__dict__.get("suppressed", 0) if bounded.filter(record) else None

    assert [passes(100.0 + second) for second in range(12)] == [0, *[None] * 9, 9, None]
    later = [second for second in range(12, 2000) if passes(100.0 + second) is not None]
    assert later == [30, 70, 150, 310, 630, 1230, 1830]
    assert passes(2800.0) == 169
    assert passes(2811.0) == 0
    assert passes(101.0, "something else") == 0
    assert [passes(101.0, incident="dead-letters") for _ in range(3)] == [0, 0, 0]


def test_json_lines_hold_the_same() -> None:
    record = logging.makeLogRecord(
        {"levelname": "WARNING", "created": 1.5, "incident": "dead-letters", "facts": {"records": 3}, "todo": "look"}
    )
    assert json.loads(JsonLines().format(record)) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "warning",
        "incident": "dead-letters",
        "records": 3,
        "todo": "look",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_configuration_is_one_that_logging_takes(form: str) -> None:
    configurator = logging.config.DictConfigurator(log_configuration(form, "warning"))  # type: ignore[arg-type] # drawn from the two
    assert configurator.configure_handler(dict(configurator.config["handlers"]["stderr"], filters=[], formatter=None))
