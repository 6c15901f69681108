"""The command ``headrace``: the root group, exit codes, and errors as one line.

A command parses its arguments, calls one module and prints the result; it imports heavy modules itself, so that
``--help`` is quick. Exit codes: 0 done, 1 a broken guarantee, 2 wrong arguments or settings, 3 a refused start,
4 no broker, 130 Ctrl-C, and 143 for a demo that was terminated.
"""

import sys
from collections.abc import Sequence
from typing import Final

import click

from streams.cli.base import Group, settings_options
from streams.cli.broker import broker
from streams.cli.catalogue import catalogue
from streams.cli.config import config
from streams.cli.contract import contract
from streams.cli.dead_letters import dead_letters
from streams.cli.decisions import decisions
from streams.cli.demo import demo
from streams.cli.evaluate import evaluate
from streams.cli.experiment import experiment
from streams.cli.explain import explain
from streams.cli.health import health
from streams.cli.ingest import ingest
from streams.cli.inspect import inspect
from streams.cli.kafka import kafka
from streams.cli.lab import lab
from streams.cli.models import models
from streams.cli.replay import replay
from streams.cli.serve import serve
from streams.cli.simulate import simulate
from streams.cli.tail import tail
from streams.cli.topics import topics
from streams.cli.worker import worker
from streams.contract.errors import (
    ConfigurationError,
    HeadraceError,
    RefusedStart,
    UnreachableBroker,
    UnreadableSource,
)

WRONG_ARGUMENTS: Final = 2
INTERRUPTED: Final = 130

_STATUS: Final[dict[type[HeadraceError], int]] = {
    ConfigurationError: 2,
    UnreadableSource: 2,
    RefusedStart: 3,
    UnreachableBroker: 4,
}
_ANY_OTHER_ERROR: Final = 1


def main() -> None:
    """Runs the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; errors are one line on standard error."""
    try:
        result = headrace.main(list(arguments), prog_name="headrace", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG_ARGUMENTS
    except click.ClickException as error:
        return _complain(error.format_message(), WRONG_ARGUMENTS)
    except HeadraceError as error:
        return _complain(str(error), _STATUS.get(type(error), _ANY_OTHER_ERROR))
    return result if isinstance(result, int) else 0


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    example="headrace --bootstrap-servers localhost:9092 topics create",
)
@click.version_option(package_name="headrace", message="%(prog)s %(version)s")
@settings_options
def headrace() -> None:
    """Predicts what each shopper does next and decides what to show, event by event, on Kafka.

    An environment variable HEADRACE_SECTION__KEY overrides any setting. Both options may also stand behind the name of
    a command that reads settings.
    """


for _command in (
    broker,
    catalogue,
    config,
    contract,
    dead_letters,
    decisions,
    demo,
    evaluate,
    experiment,
    explain,
    health,
    ingest,
    inspect,
    kafka,
    lab,
    models,
    replay,
    serve,
    simulate,
    tail,
    topics,
    worker,
):
    headrace.add_command(_command)


def _complain(message: str, status: int) -> int:
    click.echo(f"headrace: {' '.join(message.split())}", err=True)
    return status


if __name__ == "__main__":
    main()
