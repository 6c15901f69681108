"""Comparison of what a partition's rows belong to with the cluster and the settings that a worker has now."""

import re
import shlex
from pathlib import Path

from msgspec.structs import replace

from streams.contract.connection import tool_options
from streams.contract.fold import Identity, PartitionRow
from streams.contract.settings import Kafka, Settings
from streams.contract.settings.row_shape import consequence_of
from streams.contract.source_epoch import epoch_of, in_epoch


def difference(stored: Identity, now: Identity, changelog: str) -> str:
    """Says why rows cannot be taken; empty if they can, as far as both identities are known.

    A source that was made anew is no reason: see :func:`belonging`.
    """
    if is_anew(stored, now, changelog):
        return (
            f"{changelog} was deleted and made anew (its id is {now.topic_ids[changelog]}, and that of the rows in the "
            f"data directory {stored.topic_ids[changelog]}): they are not in it, and belong to nothing"
        )
    if stored.app_id and stored.app_id != now.app_id:
        return (
            f"the rows are of the application {stored.app_id!r}, and engine.app_id is {now.app_id!r}: two applications "
            "on the same topics would answer everything twice"
        )
    if stored.partitions and stored.partitions != now.partitions:
        return (
            f"the rows are of {stored.partitions} partitions, and there are {now.partitions}: keys have moved to other "
            "partitions than their rows"
        )
    for key, value in stored.shape.items():
        if now.shape.get(key) != value:
            there = f"have {now.shape[key]!r}" if key in now.shape else "have none"
            return f"the rows were made with {key} {value!r}, and the settings {there}: {consequence_of(key)}"
    return ""


def changes(stored: Identity, now: Identity) -> dict[str, tuple[str, str]]:
    """Returns the settings whose change the rows take, each with its value then and now; empty for new rows."""
    if not stored.app_id:
        return {}
    before, after = {**stored.followed, **stored.shape}, {**now.followed, **now.shape}
    return {key: (before.get(key, ""), value) for key, value in after.items() if before.get(key, "") != value}


def is_anew(stored: Identity, now: Identity, topic: str) -> bool:
    """Tells whether a topic was deleted and made anew since the rows were written."""
    before = stored.topic_ids.get(topic)
    return before is not None and now.topic_ids.get(topic, before) != before


def belonging(row: PartitionRow, now: Identity, source: str) -> PartitionRow:
    """Returns a partition's row with the present identity, and of the stored one the ids that cannot be read now.

    If the source was made anew, nothing of it is applied: its offsets are those of the next epoch.
    """
    identity = replace(now, topic_ids={**row.identity.topic_ids, **now.topic_ids})
    if not is_anew(row.identity, now, source):
        return replace(row, identity=identity)
    nothing = in_epoch(epoch_of(row.applied_offset) + 1, -1)
    return replace(row, identity=identity, applied_offset=nothing, last_record=PartitionRow().last_record)


def how_to_begin_anew(settings: Settings, partitions: int) -> str:
    """Returns the command that runs the application on new topics and a new data directory, beside the old ones.

    Args:
        partitions: Number of partitions of the clickstream.

    >>> how_to_begin_anew(Settings(), 8).partition(": export ")[2].partition(" KAFKA")[0]
    'HEADRACE_KAFKA__TOPIC_PREFIX=headrace.2. HEADRACE_KAFKA__CLICKSTREAM=clickstream HEADRACE_KAFKA__PARTITIONS=8'
    """
    names, engine = settings.names, settings.engine
    numbered = re.fullmatch(r"(.+\.)([0-9]+)\.", names.prefix)
    base, number = (numbered[1], int(numbered[2]) + 1) if numbered else (names.prefix or f"{engine.app_id}.", 2)
    prefix = f"{base}{number}."
    values = {
        "HEADRACE_KAFKA__TOPIC_PREFIX": prefix,
        "HEADRACE_KAFKA__CLICKSTREAM": names.events,
        "HEADRACE_KAFKA__PARTITIONS": str(partitions),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "HEADRACE_ENGINE__DATA_DIR": f"{Path(engine.data_dir).resolve()}-{number}",
    }
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return (
        "to begin anew with the records that are there now, stop all workers and run (each with its own data "
        f"directory, and with your --config, if you have one): export {environment} && headrace topics create && "
        f"headrace worker; the outputs are then in {prefix}*, and the old topics stay"
    )


def how_to_reset_offset(group: str, topic: str, partition: int, offset: int, kafka: Kafka) -> str:
    """Returns the command that has a group read a partition from an offset on."""
    return (
        "if it stays so, stop all workers and run: "
        f"kafka-consumer-groups.sh {tool_options(kafka)} --group {group} --topic {topic}:{partition} --reset-offsets "
        f"--to-offset {offset} --execute"
    )
