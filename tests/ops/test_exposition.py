"""What Prometheus scrapes is what the partitions' rows, the progress and the watchdog say."""

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.contract.fold import PartitionRow
from streams.engine.protocol import Progress
from streams.engine.readers import Unread
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition
from streams.observability.health import Health
from streams.observability.metrics_reporter import LATENCY_EDGES_MS
from streams.observability.prometheus import WorkerCollector, registry_of

ROW = PartitionRow(
    applied_offset=41,
    watermark_ms=5000,
    counts={"applied": 40, "duplicates": 2, "dead_letters.malformed": 3, "watermark_jumps": 1},
)


UNREAD = {("item-signals", 3): Unread(8, 61.0)}
RECOVERY = Recovery(begun_s=0.0, seconds=2.0, rows=60, offsets=75, left=25)


def scraped() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    progress = Progress(records=45, batches=3)
    progress.step_ns["fold"] = 2_500_000_000
    opened = SimpleNamespace(committed=msgspec.msgpack.encode(ROW))
    worker: Any = SimpleNamespace(partitions={2: opened}, engine=SimpleNamespace(progress=progress))
    place = ("clickstream", 2)
    condition = Condition(frozenset({place}), None, {place: 21.0}, {place: 9}, 0.5, RECOVERY, 77, 5, 3, unread=UNREAD)
    # One record of each bin: 1 of 400 is at most 0.5 ms late.
    latencies = {"clickstream": np.ones(len(LATENCY_EDGES_MS) - 1, np.int64)}
    collector = WorkerCollector(
        {"clickstream": worker},
        lambda: condition,
        Health(lambda: True, lambda: condition, 20.0, {"clickstream"}),
        lambda: latencies,
    )
    text = generate_latest(registry_of(collector)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_is_exposed_under_its_name_and_place() -> None:
    samples = scraped()
    topic, place = ("topic", "clickstream"), (("partition", "2"), ("topic", "clickstream"))
    events = {labels: value for (name, labels), value in samples.items() if name == "headrace_events_total"}
    assert events == {(("outcome", "applied"), *place): 40, (("outcome", "duplicates"), *place): 2}
    assert samples["headrace_dead_letters_total", (place[0], ("reason", "malformed"), topic)] == 3
    assert samples["headrace_next_offset", place] == 42
    assert samples["headrace_watermark_seconds", place] == 5
    assert samples["headrace_watermark_jumps_total", place] == 1
    assert samples["headrace_lag_records", place] == 9
    assert samples["headrace_unread_records", (("partition", "3"), ("topic", "item-signals"))] == 8
    assert samples["headrace_records_total", (topic,)] == 45
    assert samples["headrace_batches_total", (topic,)] == 3
    assert samples["headrace_step_seconds_total", (("step", "fold"), topic)] == 2.5
    assert (samples["headrace_healthy", ()], samples["headrace_ready", ()]) == (0, 0)
    assert (samples["headrace_recovered_rows_total", ()], samples["headrace_standby_rows_total", ()]) == (77, 5)
    assert samples["headrace_standby_left_offsets", ()] == 3
    assert samples["headrace_recovery_done_ratio", ()] == 0.75
    assert samples["headrace_recovery_rows_per_second", ()] == 30
    assert samples["process_resident_memory_bytes", ()] > 0


def test_the_latency_histogram_is_cumulative_and_whole() -> None:
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in scraped().items()
        if name == "headrace_latency_seconds_bucket"
    }
    counts = [buckets[edge] for edge in sorted(buckets)]
    assert counts == sorted(counts)
    assert counts[-1] == len(LATENCY_EDGES_MS) - 1
    for edge_s, count in buckets.items():
        assert count == np.sum(LATENCY_EDGES_MS[1:] <= edge_s * 1000)
