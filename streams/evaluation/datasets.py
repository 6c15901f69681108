"""Data sets for the comparison of models."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from streams.contract.errors import UnreadableSource


class DataSet(NamedTuple):
    """A named data set.

    Attributes:
        file: Path below the folder of the data sets; empty for any file of the user's.
        label: Column to predict; for a clickstream, a target.
        ignored: Columns that are not features.
        source: Address to get it from.
        format: Format of a file of events, from which the features are computed; empty for a table.
    """

    file: str
    label: str
    source: str
    ignored: tuple[str, ...] = ()
    format: str = ""

    def below(self, folder: Path) -> Path:
        """Returns the path of its file.

        Raises:
            UnreadableSource: There is no such file; the message says where to get it.
        """
        path = folder / self.file
        if not path.is_file():
            raise UnreadableSource(
                f"there is no file {path}: get the data set from {self.source}, and set HEADRACE_DATA to the folder "
                f"that has {self.file}"
            )
        return path


_SHOPPERS: Final = "https://archive.ics.uci.edu/dataset/468"
_CREDIT: Final = "https://archive.ics.uci.edu/dataset/350"
_TAOBAO: Final = "https://tianchi.aliyun.com/dataset/649"

DATASETS: Final[Mapping[str, DataSet]] = MappingProxyType(
    {
        "online-shoppers": DataSet("online_shoppers/online_shoppers_intention.csv", "Revenue", _SHOPPERS),
        "credit-default": DataSet(
            "credit_default_uci/UCI_Credit_Card.csv", "default.payment.next.month", _CREDIT, ("ID",)
        ),
        "taobao": DataSet("taobao_userbehavior/user_histories.csv", "purchase", _TAOBAO, format="taobao"),
        "clickstream": DataSet("", "purchase", "", format="auto"),
    }
)
ANY_TABLE: Final = "csv"
"""Choice for any table, which needs a path."""
CHOICES: Final = (*DATASETS, ANY_TABLE)
