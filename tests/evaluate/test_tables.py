from pathlib import Path

import numpy as np
import pytest

from producers.delimited import LeftOut
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.evaluation.columns import MAX_CATEGORIES
from streams.evaluation.table import Table, read_table


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
    table = read_table(written(tmp_path, text), "y", time="at", positive="1")
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
        ("a,y\n1,0\n2,1,5\n", "y", "line 3: there are 3 values for 2 columns"),
        ("a,y\n1,0\n2,\n", "y", "line 3: the label y is missing"),
        ('a,y\n1,0\n"2,1\n', "y", "line 3"),
        ("a,a\n1,0\n", "a", "line 1: every column needs its own name"),
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


@pytest.mark.parametrize("spelling", ["", "N/A", "\\N", "<NA>", "#N/A", "null", "NULL", "-", "NaN", "None", "?"])
def test_a_missing_number_may_be_spelled_in_many_ways(tmp_path: Path, spelling: str) -> None:
    rows = "".join(f"{n + 0.5 if n % 3 else spelling},{n % 2}\n" for n in range(20))
    table = read_table(written(tmp_path, "x,y\n" + rows), "y")
    assert table.schema.names == ("x", "x_missing")
    assert table.columns["x"] == "number, 7 missing"


@pytest.mark.parametrize(
    ("cells", "numbers", "inferred"),
    [
        (["0,5", "-1,25", "1.234,5"], [0.5, -1.25, 1234.5], "number with decimal commas"),
        (["1,234.5", "12", "1,000,000.25"], [1234.5, 12.0, 1000000.25], "number with thousands separators"),
        (["1 234,5", "12,5", "1\N{NARROW NO-BREAK SPACE}000"], [1234.5, 12.5, 1000.0], "number with decimal commas"),
        (["2019-10-01 00:00:00 UTC", "2019-10-01T00:00:09", "2019-10-01T01:00:00+01:00"], [0, 9, 0], "time, ISO 8601"),
    ],
)
def test_numbers_are_read_as_their_country_writes_them(
    tmp_path: Path, cells: list[str], numbers: list[float], inferred: str
) -> None:
    table = read_table(written(tmp_path, "x;y\n" + "".join(f"{cell};{cell == cells[0]}\n" for cell in cells)), "y")
    assert table.columns["x"].startswith(inferred)
    expected = np.array(numbers) - numbers[0]
    assert np.array(column(table, "x")) - column(table, "x")[0] == pytest.approx(expected)


def test_a_column_that_is_no_number_because_of_some_cells_says_so(tmp_path: Path) -> None:
    rows = "".join(f"{n if n % 4 else 'unknown'},{n % 2}\n" for n in range(40))
    table = read_table(written(tmp_path, "x,y\n" + rows), "y")
    assert table.warnings == (
        "x is taken as a category of 31 values: 30 of 40 values are numbers, and 'unknown' in line 2 is not",
    )


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e300", "1e999"])
@pytest.mark.parametrize("every", [10, 30])
def test_a_number_that_is_too_large_is_named_by_its_line(tmp_path: Path, cell: str, every: int) -> None:
    rows = "".join(f"{cell if n % every == 3 else n + 0.5},{n % 2}\n" for n in range(30))
    with pytest.raises(UnreadableSource, match=f"line 5: x is '{cell}'"):
        read_table(written(tmp_path, "x,y\n" + rows), "y")


@pytest.mark.parametrize(
    ("labels", "given", "positive", "n_positives"),
    [
        (["legit"] * 5 + ["fraud"], None, "fraud", 1),
        (["legit"] * 5 + ["fraud"], "LEGIT", "legit", 5),
        (["Yes", "yes", "yes", "No", "No", "No", "no"], None, "yes", 3),
        (["1", "1.0", "0", "0", "0.0"], None, "1", 2),
        (["1", "1", "0"], "1.0", "1", 2),
        (["-", "-", "+"], None, "+", 1),
    ],
)
def test_the_positive_class_is_the_rarer_one_or_the_one_that_is_named(
    tmp_path: Path, labels: list[str], given: str | None, positive: str, n_positives: int
) -> None:
    text = "x,y\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels))
    table = read_table(written(tmp_path, text), "y", positive=given)
    assert (table.positive, int(table.labels.sum())) == (positive, n_positives)


def test_a_positive_value_that_does_not_occur_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the label y has no value 'maybe'; it has 0, 1"):
        read_table(written(tmp_path, "a,y\n1,0\n2,1\n"), "y", positive="maybe")


def test_a_few_bad_rows_are_left_out_and_counted_and_many_are_refused(tmp_path: Path) -> None:
    good = "".join(f"{n},{n % 2}\n" for n in range(50))
    left_out = LeftOut()
    table = read_table(written(tmp_path, f"x,y\n1\n{good}2,\n"), "y", left_out=left_out)
    assert len(table.labels) == 50
    assert (left_out.count, left_out.shown) == (
        2,
        ["line 2: there are 1 values for 2 columns", "line 53: the label y is missing"],
    )
    with pytest.raises(UnreadableSource, match=r"line 12: .* 10 rows before it are bad, too"):
        read_table(written(tmp_path, "x,y\n" + "1\n" * 20 + good), "y", left_out=LeftOut())


def test_a_column_that_is_hashed_says_so(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "x,y\n" + "".join(f"${n}.50,{n % 2}\n" for n in range(100))), "y")
    assert table.warnings == ("x is taken as a category of 100 values, hashed into 64",)


def test_a_column_without_a_name_beside_an_older_index_is_left_out_like_it(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, ",Unnamed: 0,x,y\n0,0,1.5,0\n1,1,2.5,1\n"), "y")
    assert table.schema.names == ("x",)
    assert [name for name, inferred in table.columns.items() if "no name" in inferred] == ["", "Unnamed: 0"]
