"""``headrace catalogue``: writes the shop's catalogue."""

from pathlib import Path

import click

from streams.cli.base import Group, settings_of, settings_options


@click.group(cls=Group, example="headrace catalogue load items.csv")
def catalogue() -> None:
    """Lists items, their titles and whether they may be shown."""


@catalogue.command(example="headrace catalogue load items.jsonl")
@click.argument("file", type=click.Path(path_type=Path))
@settings_options
@click.pass_context
def load(context: click.Context, file: Path) -> None:
    """Publishes the items of FILE; an item that is there is replaced, whole.

    FILE is a table with a header (`item_id`, `title`, `category`, `price`, `available`, `url`, `image_url`, `tags`,
    `embedding`; only the first is needed), or has one JSON object a line and a name like items.jsonl. All lines are
    checked before the first is published. As soon as anything is listed, only listed items are recommended, and those
    that are not available are shown to nobody.
    """
    from streams.admin.catalogue import load_catalogue, read_catalogue

    items = read_catalogue(file)
    load_catalogue(settings_of(context), items)
    hidden = sum(not item.available for item in items)
    click.echo(f"{len(items)} items are listed, {hidden} of them not available")
