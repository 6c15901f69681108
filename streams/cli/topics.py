"""``headrace topics``: creates the topics, or lists them."""

import json
import sys

import click

from streams.cli.base import Group, settings_of, settings_options


@click.group(cls=Group, example="headrace topics list")
def topics() -> None:
    """Creates or lists the topics."""


@topics.command(example="HEADRACE_KAFKA__REPLICATION_FACTOR=3 headrace --bootstrap-servers kafka:9092 topics create")
@settings_options
@click.pass_context
def create(context: click.Context) -> None:
    """Creates the missing topics.

    Partitions, replication and clean-up are set explicitly, not by the broker's defaults. Topics that exist are
    compared and left as they are. The exit code is 3 if one has another number of partitions, since keys would move, or
    a property that loses rows. Other differences are printed, with the commands that mend them.
    """
    from streams.admin.topics import create_topics
    from streams.contract.topic_config import mending_commands

    settings = settings_of(context)
    creation = create_topics(settings)
    for name in creation.created:
        click.echo(f"created {name}")
    for difference in creation.differences:
        click.echo(f"differs: {difference}")
    for command in mending_commands(creation.differences, settings.kafka):
        click.echo(f"to mend it: {command}")
    if creation.unread:
        click.echo(f"not compared: {creation.unread}")
    if creation.unprefixed:
        click.echo(creation.unprefixed)
    click.echo(f"{len(creation.created)} created, {len(creation.existing)} there already")


@topics.command(example="headrace topics acls --principal User:headrace")
@click.option("--principal", metavar="NAME", help="Who is allowed it.  [default: User:<kafka.sasl_username>]")
@settings_options
@click.pass_context
def acls(context: click.Context, principal: str | None) -> None:
    """Prints the commands that allow what the application needs.

    They are of Apache Kafka, for a cluster with an authorizer, and can be run by a shell. All consumer groups and
    transactional ids begin with engine.app_id.
    """
    from itertools import groupby

    from streams.contract.acls import acl_command
    from streams.contract.acls import acls as acls_of

    settings = settings_of(context)
    for needed_by, listed in groupby(acls_of(settings), lambda acl: acl.needed_by):
        click.echo(f"# {needed_by}")
        for acl in listed:
            click.echo(acl_command(acl, settings, principal or ""))


@topics.command(name="list", example="headrace topics list | jq -r .name")
@settings_options
@click.pass_context
def list_topics(context: click.Context) -> None:
    """Lists the topics.

    The list comes from the settings, not from a broker. It is a table on a terminal, and JSON lines when piped.
    """
    from streams.admin.topics import describe_topic

    settings = settings_of(context)
    if not sys.stdout.isatty():
        for topic in settings.topics:
            click.echo(json.dumps(describe_topic(topic, settings)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    headers = ("key", "value", "partitions", "clean-up", "written by")
    columns = [Column(header, overflow="fold") for header in headers]
    table = Table(Column("topic", no_wrap=True), *columns, box=SIMPLE_HEAD)
    for topic in settings.topics:
        table.add_row(topic.name, topic.key, topic.value, str(topic.partitions), topic.cleanup, topic.writer)
    Console().print(table)
