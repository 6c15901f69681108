from pathlib import Path

import numpy as np
import pytest

from streams.contract.errors import ConfigurationError
from streams.contract.settings import Settings
from streams.ops.evaluate.clickstream import read_clickstream

SETTINGS = Settings()


def recorded(folder: Path, lines: list[str]) -> Path:
    path = folder / "UserBehavior.csv"
    path.write_text("user_id,item_id,category_id,behavior,timestamp\n" + "\n".join(lines) + "\n", "ascii")
    return path


def test_a_recorded_clickstream_makes_the_examples_that_behaviour_would_send(tmp_path: Path) -> None:
    lines = []
    for user in range(20):
        at_s = 1_511_600_000 + 10_000 * user
        lines += [f"{user},{user},7,pv,{at_s}", f"{user},{user},7,pv,{at_s + 5}"]
        if user % 2:
            lines.append(f"{user},{user},7,buy,{at_s + 60}")
    table = read_clickstream(recorded(tmp_path, lines), "purchase", SETTINGS, lambda done: None)
    assert len(table.labels) == 20
    assert table.labels.tolist() == [0.0, 1.0] * 10
    assert table.known is not None
    assert table.known.tolist() == [0, *range(19)]
    assert table.vectors[:, table.schema.names.index("views_5m")].tolist() == [1.0] * 20


def test_an_example_knows_only_the_labels_that_were_final_when_it_was_predicted(tmp_path: Path) -> None:
    lines = [f"{user},1,7,pv,{1_511_600_000 + user}" for user in range(10)] + ["3,1,7,buy,1511600100"]
    table = read_clickstream(recorded(tmp_path, lines), "purchase", SETTINGS, lambda done: None)
    assert table.known is not None
    assert (table.known == 0).all()
    assert table.labels.sum() == 1.0


def test_a_target_that_nothing_happens_for_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = recorded(tmp_path, ["1,1,7,pv,1511600000", "2,1,7,pv,1511600001"])
    with pytest.raises(ConfigurationError, match="no examples of both classes for target purchase"):
        read_clickstream(path, "purchase", SETTINGS, lambda done: None)
    with pytest.raises(ConfigurationError, match="there is no target 'sale'; there are purchase, cart"):
        read_clickstream(path, "sale", SETTINGS, lambda done: None)


@pytest.mark.data
def test_the_taobao_histories_begin_with_purchases_of_both_classes(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "taobao_userbehavior" / "user_histories.csv").read_text("ascii").splitlines()
    table = read_clickstream(recorded(tmp_path, whole[1:6000]), "purchase", SETTINGS, lambda done: None)
    assert 0.0 < table.labels.mean() < 0.3
    assert table.known is not None
    assert (table.known < np.arange(len(table.labels)) + 1).all()
