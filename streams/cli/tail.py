"""``headrace tail``: follows a topic."""

import sys
from itertools import chain

import click

from streams.cli.base import Command, Registered, notify, print_lines, settings_of, settings_options


@click.command(
    cls=Command,
    example="headrace tail clickstream --user user-17\n"
    "headrace tail dead-letters --from-beginning | jq -r .reason | sort | uniq -c",
)
@click.argument("topic", type=Registered("streams.admin.tail:LAYOUTS"))
@click.option("--from-beginning", is_flag=True, help="Start with the oldest record that the broker still has.")
@click.option("--user", metavar="USER", help="Print only records of this shopper.")
@click.option("--max", "limit", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@settings_options
@click.pass_context
def tail(context: click.Context, topic: str, from_beginning: bool, user: str | None, limit: int | None) -> None:
    """Prints the records of a topic as they arrive.

    The output is coloured text on a terminal, with the titles of items as the catalogue has them at the start, and one
    JSON object a line when piped. `--user` is for the topics whose records are of a shopper: clickstream, decisions,
    predictions and recommendations.
    """
    from rich.console import Console

    from streams.admin.tail import USER_DECODERS, follow, json_line, terminal_text, titles_for

    if user is not None and topic not in USER_DECODERS:
        raise click.UsageError(f"records of {topic} are of no shopper; --user is for {', '.join(USER_DECODERS)}.")
    settings = settings_of(context)
    batches = follow(settings, topic, from_beginning, limit, notify, user)
    if sys.stdout.isatty():
        console, titles = Console(), titles_for(settings, topic)
        for message in chain.from_iterable(batches):
            console.print(terminal_text(topic, message, titles))
    else:
        print_lines([json_line(topic, message) for message in batch] for batch in batches)
