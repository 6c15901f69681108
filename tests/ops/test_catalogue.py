"""A catalogue is loaded from the files that shops have, whole or not at all, and its titles are shown."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.admin.catalogue import read_catalogue, read_titles
from streams.admin.topic_reader import partition_reader, read_to_end
from streams.brokers.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.contract.catalogue import CatalogueItem, decode_catalogue_record
from streams.contract.errors import UnreadableSource
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CATALOGUE

SHOE = CatalogueItem(
    item_id="i1", title="Trail shoe, blue", category="shoes", price=79.9, available=False, tags=("outdoor", "sale")
)
HAT = CatalogueItem(item_id="i2", title="Hat", embedding=(0.5, -1.0))
TABLE = """item_id;title;category;price;available;tags;embedding;colour
i1;"Trail shoe, blue";shoes;79.9;No;outdoor|sale;;blue
i2;Hat;N/A;;;;[0.5,-1];-
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        yield broker.bootstrap_servers


def test_a_table_and_json_lines_are_the_same_items(tmp_path: Path) -> None:
    table, lines = tmp_path / "items.csv", tmp_path / "items.jsonl.gz"
    table.write_text(TABLE)
    objects: list[dict[str, object]] = [
        {"item_id": "i1", "title": "Trail shoe, blue", "category": "shoes", "price": 79.9, "available": False},
        {"item_id": "i2", "title": "Hat", "embedding": [0.5, -1.0], "colour": None},
    ]
    objects[0]["tags"] = ["outdoor", "sale"]
    lines.write_bytes(gzip.compress("\n\n".join(map(json.dumps, objects)).encode()))
    assert read_catalogue(table) == read_catalogue(lines) == [SHOE, HAT]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "item_id,price\ni1,cheap\n", "line 2: price is 'cheap'"),
        ("a.csv", "item_id,price\ni1,1\ni2,-4\n", "line 3: Expected `float` >= 0.0"),
        ("a.csv", "item_id,available\ni1,perhaps\n", "line 2: available is 'perhaps': true or false"),
        ("a.csv", "item_id,title\n,Shoe\n", "line 2: the record has no key"),
        ("a.csv", "sku,title\ni1,Shoe\n", "no column item_id; it has sku, title"),
        ("a.csv", "item_id\n", "there are no items"),
        ("a.csv", "", "no column item_id; it has none"),
        ("a.jsonl", '{"item_id": "i1", "title": ' + "[" * 2000 + "]" * 2000 + "}\n", "line 1: "),
        ("a.jsonl", '{"item_id": "i1"}\n{"item_id": "i2"\n', "line 2: "),
        ("a.jsonl", '{"item_id": "i1", "title": 7}\n', "line 1: Expected `str | null`, got `int` - at `$.title`"),
        ("a.jsonl", '{"item_id": 7}\n', "line 1: "),
        ("a.jsonl", "[1]\n", "line 1: Expected `object`"),
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableSource) as refused:
        read_catalogue(tmp_path / name)
    assert complaint in str(refused.value)


def test_a_byte_order_mark_and_any_packing_are_read_and_a_packed_file_that_was_cut_is_named(tmp_path: Path) -> None:
    path, packed = (
        tmp_path / "items.jsonl",
        gzip.compress(b"\xef\xbb\xbf" + b'{"item_id": "i2", "title": "Hat"}\n' * 500),
    )
    path.write_bytes(packed)
    assert read_catalogue(path) == [CatalogueItem(item_id="i2", title="Hat")] * 500
    path.write_bytes(packed[:-20])
    with pytest.raises(UnreadableSource, match=r"items\.jsonl"):
        read_catalogue(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match=r"none\.csv"):
        read_catalogue(tmp_path / "none.csv")


@pytest.mark.broker
def test_what_is_loaded_is_on_the_topic_and_the_latest_title_counts(
    servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, broken = tmp_path / "items.csv", tmp_path / "broken.csv"
    file.write_text(TABLE)
    broken.write_text("item_id,price\ni3,1\ni4,x\n")
    assert run(["--bootstrap-servers", servers, "catalogue", "load", str(file)]) == 0
    assert capsys.readouterr().out == "2 items are listed, 1 of them not available\n"
    assert run(["--bootstrap-servers", servers, "catalogue", "load", str(broken)]) == 2
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(CATALOGUE, b'{"item_id": "i2", "title": "Straw hat"}', b"i2", 0)
    producer.produce(CATALOGUE, None, b"i1", 0)
    producer.produce(CATALOGUE, b"no item", b"i2", 0)
    assert not producer.flush(10)
    settings = Settings(kafka=Kafka(bootstrap_servers=servers))
    reader = partition_reader(settings)
    messages = list(read_to_end(reader, CATALOGUE, 0))
    assert [decode_catalogue_record(each.key(), each.value()) for each in messages[:2]] == [SHOE, HAT]
    assert len(messages) == 5
    assert read_titles(reader, settings) == {"i2": "Straw hat"}
    reader.close()
