"""``headrace dead-letters``: takes out what could not be applied, and puts it back when it is mended."""

from pathlib import Path

import click

from streams.ops.commands.base import Command, Group, report_option, settings_of, settings_options, write_report


@click.group(cls=Group, name="dead-letters", example="headrace dead-letters export > letters.jsonl")
def dead_letters() -> None:
    """Exports dead letters, and replays them mended."""


@dead_letters.command(
    cls=Command,
    example="headrace dead-letters export | jq -c '.event.price |= tonumber' > mended.jsonl",
)
@click.option("--reason", metavar="WORD", help="Only those with this reason.")
@settings_options
@click.pass_context
def export(context: click.Context, reason: str | None) -> None:
    """Prints the dead letters of clickstream that were not replayed yet.

    One JSON object a line: origin, reason, detail, and the event, or the record's text where it is no JSON object.
    """
    from streams.ops.dead_letters import DeadLetters

    letters = DeadLetters(settings_of(context).kafka)
    try:
        for line in letters.export(reason):
            click.echo(line)
    finally:
        letters.close()


@dead_letters.command(cls=Command, example="headrace dead-letters replay mended.jsonl --report replayed.json")
@click.argument("file", type=click.Path(path_type=Path))
@report_option
@settings_options
@click.pass_context
def replay(context: click.Context, file: Path, report: Path | None) -> None:
    """Puts mended events back into clickstream, each once.

    FILE has the lines of `export` with their `event` mended; lines may be left out. All are checked before anything is
    published, and what was replayed before is left out, so a run that was cut off is simply run again. An event that is
    older than the allowed lateness is applied as late.
    """
    from streams.ops.dead_letters import DeadLetters, read_mended

    mended = read_mended(file)
    letters = DeadLetters(settings_of(context).kafka)
    try:
        write_report(letters.replay(mended), report)
    finally:
        letters.close()
