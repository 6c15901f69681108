"""``headrace replay``: replays recorded clickstreams to the cluster."""

from pathlib import Path

import click

from streams.cli.base import Command, notify, report_option, settings_of, settings_options, total_of, write_report
from streams.cli.recorded import FileOptions, file_options, recorded, timeline_of
from streams.contract.errors import UnreadableSource


@click.command(
    cls=Command,
    example="headrace replay UserBehavior.csv --speed 60x\n"
    "headrace replay yoochoose-clicks.dat yoochoose-buys.dat --dry-run\n"
    "headrace replay orders.csv --mapping my-shop.toml",
)
@file_options
@click.option("--speed", default="max", show_default=True, help="max, or a factor of the recorded speed: 1x, 60x.")
@click.option("--anyway", is_flag=True, help="Publish also what is earlier than the cluster's event time, and so late.")
@click.option("--dry-run", is_flag=True, help="Publish nothing: report what is in the files, or draft a mapping.")
@report_option
@settings_options
@click.pass_context
def replay(
    context: click.Context,
    files: tuple[Path, ...],
    options: FileOptions,
    speed: str,
    *,
    anyway: bool,
    dry_run: bool,
    report: Path | None,
) -> None:
    """Replays files into the clickstream.

    Several files are merged by time, and a file that is not in the order of time is sorted. The resulting rows do not
    depend on the speed. The files are read to their end before the first event is published; - is standard input. The
    replay ends with a tick for each partition, two hours after the last event, so that labels mature; so does one that
    Ctrl-C stops. It is refused if the cluster's event time is later than the files' beginning.
    """
    import signal
    import threading
    from collections import Counter

    from msgspec.structs import asdict

    from producers.replay.replay import parse_speed
    from producers.replay.run import replay_timeline
    from streams.observability.progress import progress

    settings, factor = settings_of(context), parse_speed(speed)
    options = options._replace(is_dry=dry_run)
    with recorded(files, options) as read:
        if dry_run:
            write_report({"files": [file.summary() for file in read]}, report)
            return
        stopping = threading.Event()
        # An exception in a callback of the Kafka client would end in a SystemError.
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
        with (
            timeline_of(read, options) as timeline,
            progress(f"replaying {timeline.name}", "events", timeline.n_events) as advance,
        ):
            summary = replay_timeline(
                settings, timeline, factor, notify, total_of(advance), stopping.is_set, anyway=anyway
            )
    left_out = [file.recording.left_out for file in read]
    unknown = sum((each.unknown for each in left_out), Counter[str]())
    write_report(
        asdict(summary) | {"left_out": sum(each.count for each in left_out), "unknown_events": dict(unknown)}, report
    )
    if summary.error:
        raise UnreadableSource(f"{summary.error}. Published were {summary.produced} events, the closing ticks included")
    if summary.stopped:
        raise click.Abort
