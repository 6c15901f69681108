"""A catalogue that is loaded under a worker: what it takes out is shown to nobody any more, without a restart."""

from itertools import count
from pathlib import Path
from typing import Final

from streams.contract.events import Event
from streams.contract.records import decode_recommendation
from streams.contract.topics import CATALOGUE, RECOMMENDATIONS
from tests.system.cluster import Cluster, Worker, cluster
from tests.timeouts import wait_until

USERS: Final = [f"user-{number}" for number in range(8)]
ITEMS: Final = [f"i{number}" for number in range(6)]


def shown(it: Cluster, worker: Worker, number: int) -> tuple[Worker, set[str]]:
    """Has every shopper look at something; returns the worker that then runs, and all that was recommended."""
    at_ms = 1_700_000_000_000 + 60_000 * number
    it.publish(
        [
            Event(
                event_id=f"{number}-{user}",
                timestamp_ms=at_ms,
                kind="view",
                user_id=user,
                item_id=ITEMS[(place + number) % len(ITEMS)],
            )
            for place, user in enumerate(USERS)
        ]
    )
    [worker] = it.settle(worker)
    made = [decode_recommendation(record.value) for record in it.fresh(RECOMMENDATIONS)]
    return worker, {item.item_id for each in made for item in each.items}


def test_a_worker_shows_what_is_listed_and_available_as_soon_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    with cluster(tmp_path) as it:
        worker, numbers = it.start("disk"), count()

        def shows(items: set[str]) -> bool:
            nonlocal worker
            worker, found = shown(it, worker, next(numbers))
            return found == items

        wait_until(lambda: shows(set(ITEMS)), lambda: [worker.said()])
        file.write_text("item_id,available\n" + "".join(f"{item},{item != 'i0'}\n" for item in ITEMS))
        it.headrace("catalogue", "load", str(file))
        wait_until(lambda: shows(set(ITEMS) - {"i0"}), lambda: [worker.said()])
        it.produce(None, b"i1", 0, CATALOGUE)
        it.flush()
        wait_until(lambda: shows(set(ITEMS) - {"i0", "i1"}), lambda: [worker.said()])
        worker.stop()
        # Another one reads the whole table before its first event.
        other = it.start("another")
        other, found = shown(it, other, next(numbers))
        assert not found & {"i0", "i1"}
        other.stop()
