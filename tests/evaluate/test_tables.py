from pathlib import Path

import numpy as np
import pytest

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.ops.evaluate.table import MAX_CATEGORIES, Table, read_table


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, "utf-8")
    return path


def column(table: Table, name: str) -> list[float]:
    values: list[float] = table.vectors[:, table.schema.names.index(name)].tolist()
    return values


def test_numbers_are_scaled_and_categories_are_not(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "price;kind;sold\n1.5;a;no\n2.5;b;yes\n9.25;c;no\n"), "sold")
    assert dict(zip(table.schema.names, table.schema.scaled, strict=True)) == {
        "price": True,
        "kind=a": False,
        "kind=b": False,
        "kind=c": False,
    }
    assert column(table, "price") == [1.5, 2.5, 9.25]
    assert column(table, "kind=b") == [0.0, 1.0, 0.0]
    assert table.labels.tolist() == [0.0, 1.0, 0.0]


def test_what_is_missing_is_zero_with_an_indicator(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "price,kind,sold\n1.5,a,0\n,b,1\nNaN,,0\n7.5,a,1\n"), "sold")
    assert column(table, "price") == [1.5, 0.0, 0.0, 7.5]
    assert column(table, "price_missing") == [0.0, 1.0, 1.0, 0.0]
    assert column(table, "kind_missing") == [0.0, 0.0, 1.0, 0.0]
    assert np.isnan(table.raw).sum() == 3


def test_a_code_of_whole_numbers_is_an_indicator_of_each_value_and_two_values_are_one_column(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "code,flag,word,y\n1,0,x,0\n2,1,y,1\n3,1,x,0\n"), "y")
    assert table.schema.names == ("code", "code=1", "code=2", "code=3", "flag", "word=y")
    assert column(table, "flag") == [0.0, 1.0, 1.0]


def test_many_categories_are_hashed_into_a_few(tmp_path: Path) -> None:
    rows = "".join(f"item {number},{number % 2}\n" for number in range(500))
    table = read_table(written(tmp_path, "item,y\n" + rows), "y")
    assert len(table.schema.names) == MAX_CATEGORIES
    assert (table.vectors.sum(axis=1) == 1.0).all()


def test_a_time_column_orders_the_rows_and_is_no_feature(tmp_path: Path) -> None:
    text = "at,price,y\n2024-03-01T00:00:00,3.5,1\n2024-01-01,1.5,0\n2024-02-01T12:00:00Z,2.5,1\n"
    table = read_table(written(tmp_path, text), "y", time="at")
    assert table.ordered
    assert column(table, "price") == [1.5, 2.5, 3.5]
    assert table.labels.tolist() == [0.0, 1.0, 1.0]
    assert table.schema.names == ("price",)


def test_ignored_and_constant_columns_are_left_out(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "id,same,price,y\n7,1,1.5,0\n8,1,2.5,1\n"), "y", ["id"])
    assert table.schema.names == ("price",)


@pytest.mark.parametrize(
    "text", ["a,y\n1,FALSE\n2,TRUE\n", "a,y\n1,no\n2,Yes\n", "a,y\n1,1\n2,2\n", "a,y\n1,-1\n2,1\n"]
)
def test_the_positive_label_is_the_one_that_says_so(tmp_path: Path, text: str) -> None:
    assert read_table(written(tmp_path, text), "y").labels.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "label", "complaint"),
    [
        ("a,y\n1,0\n2,1,5\n", "y", "line 3: 3 fields, and the header has 2"),
        ("a,y\n1,0\n2,\n", "y", "line 3: the label y is missing"),
        ('a,y\n1,0\n"2,1\n', "y", "line 3"),
        ("a,a\n1,0\n", "a", "line 1: every column needs a name of its own"),
        ("a,y\n", "y", "there are no rows"),
        ("a,y\n" + "1.5,0\n2.5,1\n" * 30 + "3.5x,1\n", "y", "line 62: a is '3.5x'"),
    ],
)
def test_an_unreadable_row_is_named_by_its_line(tmp_path: Path, text: str, label: str, complaint: str) -> None:
    with pytest.raises(UnreadableSource, match=complaint):
        read_table(written(tmp_path, text), label)


@pytest.mark.parametrize(
    ("text", "label", "complaint"),
    [
        ("a,y\n1,0\n2,0\n", "y", "the label y is constant, '0' in every row"),
        ("a,y\n1,0\n2,1\n3,2\n", "y", "the label y has 3 values"),
        ("a,y\n1,0\n2,1\n", "z", "has no column 'z'; it has a, y"),
        ("a,y\n1,0\n2,1\n", None, "--label"),
        ("a,y\n1,0\n1,1\n", "y", "no column that varies"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused_with_the_reason(
    tmp_path: Path, text: str, label: str | None, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_table(written(tmp_path, text), label)


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,y\n1,0\n\xff\xfe,1\n")
    with pytest.raises(UnreadableSource, match="near line 3: not UTF-8"):
        read_table(path, "y")
