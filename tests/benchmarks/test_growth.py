"""The benchmark of growth serves users who were here before, and the whole of what they do is folded."""

from pathlib import Path

from benchmarks.growth import PARTITIONS, RECORDS, GrownShop
from streams.contract.topics import PREDICTIONS


def test_users_who_left_come_back_and_are_served(tmp_path: Path) -> None:
    shop = GrownShop(tmp_path, users=50, items=400)
    spent = shop.round()
    assert spent.events == RECORDS * PARTITIONS
    assert len(shop.core.topics.values(PREDICTIONS)) == spent.events
    shop.close()
