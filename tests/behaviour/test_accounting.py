"""Every record ends applied, as a duplicate or as a dead letter, and the totals are those of a plain count."""

from collections import Counter, defaultdict, deque
from math import sqrt
from typing import Any

import pytest

from streams.contract.errors import RejectedRecord
from streams.contract.events import MAX_RETRIED_EVENTS, decode_event
from streams.contract.metrics import Totals
from streams.contract.records import decode_recommendation
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, RECOMMENDATIONS
from streams.core.behaviour.tallies import count_exposure, partition_metrics, summarise
from streams.core.experiments.assignment import assign
from streams.testing import Pipeline
from tests.pipeline.shop_log import replayed, shopped


def counted_plainly(pipeline: Pipeline, partition: int) -> dict[str, int]:
    """Counts one partition of the log without the fold."""
    counts: Counter[str] = Counter()
    seen: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=MAX_RETRIED_EVENTS))
    lateness_ms = round(pipeline.settings.time.allowed_lateness_s * 1000)
    fold = pipeline.behaviour.fold
    watermark_ms = -1
    for record in pipeline.log[partition]:
        try:
            event = fold.decode(record, partition).event
        except RejectedRecord as rejected:
            counts[f"dead_letters.{rejected.reason}"] += 1
            continue
        watermark_ms = max(watermark_ms, event.timestamp_ms - lateness_ms)
        if event.user_id is None:
            counts["applied"] += 1
        elif event.event_id in seen[event.user_id]:
            counts["duplicates"] += 1
        else:
            seen[event.user_id].append(event.event_id)
            counts["applied"] += 1
            counts[f"kinds.{event.kind}"] += 1
            counts["late"] += event.timestamp_ms < watermark_ms
    return dict(counts)


def totals(pipeline: Pipeline) -> Totals:
    return summarise(partition_metrics(row, lag=0) for row in pipeline.behaviour.partition_rows())


@pytest.mark.parametrize("partition", [0, 1])
def test_the_totals_are_those_of_a_plain_count(partition: int) -> None:
    expected = counted_plainly(shopped(), partition)
    for pipeline in (shopped(), replayed(500)):
        counts = pipeline.behaviour.partition_rows()[partition].counts
        assert {name: count for name, count in counts.items() if name in expected} == expected
        assert {name for name in counts if name.startswith(("kinds.", "dead_letters."))} <= set(expected)


def test_every_record_is_applied_a_duplicate_or_a_dead_letter() -> None:
    pipeline = shopped()
    summary = totals(pipeline)
    dead = sum(summary.dead_letters.values())
    reasons = {"empty", "oversized", "malformed", "bad-candidates", "ahead", "wrong-key", "wrong-partition"}
    assert set(summary.dead_letters) == reasons
    n_records = sum(len(records) for records in pipeline.log.values())
    assert summary.applied + summary.duplicates + dead == n_records
    ticks = 2 * len(pipeline.partitions)
    assert sum(summary.kinds.values()) + ticks == summary.applied
    for partition in pipeline.partitions:
        assert pipeline.behaviour.partition_rows()[partition].applied_offset == len(pipeline.log[partition]) - 1


def test_a_dead_letter_says_where_it_comes_from_and_why() -> None:
    pipeline = shopped()
    origins = set()
    for record in pipeline.topics.records[DEAD_LETTERS, 0]:
        headers = {name: value.decode() for name, value in record.headers}
        partition, offset = int(headers["partition"]), int(headers["offset"])
        assert headers["topic"] == CLICKSTREAM
        original = pipeline.log[partition][offset]
        assert (original.value or b"").startswith(record.value or b"")
        with pytest.raises(RejectedRecord) as rejected:
            pipeline.behaviour.fold.decode(original, partition)
        assert rejected.value.reason == headers["reason"]
        origins.add((partition, offset))
    assert len(origins) == len(pipeline.topics.records[DEAD_LETTERS, 0])


def test_an_event_ahead_of_its_record_does_not_move_time() -> None:
    pipeline = shopped()
    latest_ms = max(
        decode_event(record.value).timestamp_ms for record in pipeline.log[0] if record.key is None and record.value
    )
    assert pipeline.behaviour.partition_rows()[0].watermark_ms == latest_ms - 240_000


def test_click_rates_are_those_computed_over_the_users() -> None:
    pipeline = shopped()
    settings = pipeline.settings.decisions
    by_policy: dict[str, list[tuple[int, int]]] = defaultdict(list)
    fold = pipeline.behaviour.fold
    for (_, key), value in pipeline.behaviour.rows().items():
        for policy, (impressions, clicks) in fold.decode_row(value).exposures.items():
            assert policy == assign(key.decode(), settings.shares, settings.salt)
            by_policy[policy].append((impressions, clicks))
    policies = totals(pipeline).policies
    assert set(by_policy) == set(settings.shares)
    for policy, users in by_policy.items():
        measured, rate = policies[policy], policies[policy].ctr
        assert (measured.users, measured.impressions, measured.clicks) == (
            len(users),
            sum(n for n, _ in users),
            sum(c for _, c in users),
        )
        assert rate is not None
        assert [rate.estimate, *rate.ci95] == expected_rate(users)


def test_slots_are_counted_by_the_source_that_the_shop_was_told() -> None:
    pipeline = shopped()
    decided: dict[str, Counter[str]] = defaultdict(Counter)
    for (topic, _), records in pipeline.topics.records.items():
        for record in records if topic == RECOMMENDATIONS else ():
            recommendation = decode_recommendation(record.value or b"")
            decided[recommendation.policy].update(item.reason for item in recommendation.items)
    slots: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for row in pipeline.behaviour.partition_rows():
        for policy, by_source in partition_metrics(row, lag=0).slots.items():
            for source, counts in by_source.items():
                slots[policy][source] = [a + b for a, b in zip(slots[policy][source], counts, strict=True)]
    made = {policy: {source: n for source, (n, _, _) in sums.items()} for policy, sums in slots.items()}
    assert made == decided
    assert sum(map(len, decided.values())) > len(decided)
    policies = totals(pipeline).policies
    for policy, sums in slots.items():
        assert all(n >= shown >= clicked for n, shown, clicked in sums.values())
        assert sum(shown for _, shown, _ in sums.values()) == policies[policy].impressions
        assert sum(clicked for _, _, clicked in sums.values()) == policies[policy].clicks


def test_carts_and_purchases_by_policy_are_all_that_were_credited() -> None:
    summary = totals(shopped())
    for kind in ("cart", "purchase"):
        by_policy = [getattr(each, f"{kind}s") for each in summary.policies.values()]
        assert sum(by_policy) == summary.rewards[kind]
        assert len([n for n in by_policy if n]) > 1
    prices = sum(each.money for each in summary.policies.values())
    assert prices > summary.rewards["purchase"]


def expected_rate(users: list[tuple[int, int]]) -> list[Any]:
    """The ratio of means over users with the delta method's interval, from the residuals of each user."""
    impressions, clicks = sum(n for n, _ in users), sum(c for _, c in users)
    rate = clicks / impressions
    variance = sum((c - rate * n) ** 2 for n, c in users) / max(len(users) - 1, 1) / len(users)
    half = 1.959964 * sqrt(variance) / (impressions / len(users))
    bounds = (pytest.approx(bound, rel=1e-4) for bound in (max(rate - half, 0.0), rate + half))
    return [pytest.approx(rate), *bounds]


def test_exposure_is_summed_by_user_in_any_steps() -> None:
    tallies: dict[str, list[int]] = {}
    for steps in ([(3, 0), (0, 1), (2, 2)], [(0, 0), (1, 0)]):
        exposure = [0, 0]
        for impressions, clicks in steps:
            count_exposure(tallies, "q", exposure, impressions, clicks)
    assert tallies == {"policy.q": [2, 6, 3, 5 * 5 + 1, 5 * 3, 3 * 3]}
