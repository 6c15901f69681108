"""Tables of the demo: names on the left, numbers on the right, no frame."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table


def new_table(name: str, headers: Iterable[str]) -> Table:
    """Creates a table without rows.

    Args:
        name: Header of the first column.
        headers: Headers of the columns of numbers.
    """
    columns = [Column(header, justify="right") for header in headers]
    return Table(name, *columns, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)
