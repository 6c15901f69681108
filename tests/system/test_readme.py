"""Every block of the README, run as its reader runs it."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from streams.contract.metrics import Totals, WorkerMetrics, decode_metrics
from streams.contract.topics import METRICS
from tests.docs.pages import README, blocks_of
from tests.system.cluster import ROOT, Reader
from tests.system.shell import environment, shell
from tests.timeouts import HANG_S, wait_until

BLOCKS: Final = blocks_of(README)
MAKE: Final = [block.text.strip() for block in BLOCKS if block.text.startswith("make ")]
SHOP: Final = [block for block in BLOCKS if not block.text.startswith("make ")]

SHORT: Final = {
    "make demo": ("--events 500 --seed 7 --headless", "504 events published = 504 applied"),
    "make test": ("--numprocesses 0 -p no:cacheprovider tests/contract/test_partitioning.py", " passed in "),
}
"""Command to the arguments that make it short, and to what it then says."""


@pytest.mark.parametrize("command", MAKE)
def test_what_is_made_runs(command: str) -> None:
    arguments, said = SHORT[command]
    # What is installed stays as it is, however old: this process runs from it.
    installed = [word for stamp in ("run", "setup") for word in ("-o", f".venv/.headrace-{stamp}")]
    done = subprocess.run(
        [*command.split(), *installed, f"ARGS={arguments}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


def test_the_shop_gets_a_slate_and_its_click_is_joined_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    checked = 0
    with shell(folder, tmp_path / "said") as it:
        for block in SHOP:
            if block.language == "python":
                (folder / "shop.py").write_text(block.text, "utf-8")
                continue
            for line in block.text.splitlines():
                it.run(line)
                if line == "python shop.py":
                    check_feedback((folder / "broker.address").read_text("utf-8").strip())
                    checked += 1
        it.close()
        wait_until(lambda: not it.is_anything_running(), it.said)
    assert checked == 1
    assert '"probabilities"' in it.said()
    assert {path.name for path in folder.iterdir()} == {".venv", "shop.py"}


def check_feedback(servers: str) -> None:
    """Waits until the click is counted; all events have to be applied, and all feedback joined to the slate."""
    reader = Reader(servers, METRICS, 1)
    newest: list[Totals] = []

    def is_counted() -> bool:
        records = [decode_metrics(record.value) for record in reader.read()]
        newest.extend(record.totals for record in records if isinstance(record, WorkerMetrics))
        return bool(newest) and "click" in newest[-1].kinds

    wait_until(is_counted, lambda: newest)
    reader.close()
    totals = newest[-1]
    assert totals.kinds.items() >= {"impression": 1, "click": 1}.items()
    assert totals.applied == sum(totals.kinds.values()) == totals.kinds["view"] + 2
    assert totals.decisions == totals.kinds["view"]
    assert sum(policy.clicks for policy in totals.policies.values()) == 1
    assert (totals.unjoinable, totals.dead_letters, totals.late) == (0, {}, 0)
