"""The example shops, as a stranger runs them: each gets a slate of its candidates, and one of what it showed."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from tests.broker.fresh import make_topics_anew
from tests.serving.doors import DoorProcess
from tests.system.cluster import ROOT, Cluster, cluster
from tests.timeouts import HANG_S, Deadline

EXAMPLES = ROOT / "examples"
SHOES = {"boots", "sandals", "sneakers"}
NOBODY = "127.0.0.1:1"


def check_shop(it: Cluster, command: Sequence[str], folder: Path) -> None:
    """Runs a shop beside a worker, and looks at its slates and at what the worker took from it."""
    worker = it.start("disk")
    said, printed = folder / "said", folder / "printed"
    with said.open("wb") as errors, printed.open("wb") as output:
        shop = subprocess.Popen(command, cwd=folder, stdout=output, stderr=errors)
    try:
        deadline = Deadline(lambda: (worker.said(), said.read_text()))
        while shop.poll() is None:
            deadline.check()
            worker = it.keep(worker)
            time.sleep(0.05)
    finally:
        shop.kill()
    assert shop.wait() == 0, said.read_text()
    searched, home = (json.loads(line) for line in printed.read_text().splitlines())
    assert {item["item_id"] for item in searched["items"]} < {*SHOES, "slippers"}
    assert {item["item_id"] for item in home["items"]} <= SHOES
    it.settle(worker)
    counts = [row.counts for row in it.rows_of_partitions(CLICKSTREAM).values()]
    assert sum(each.get("kinds.click", 0) for each in counts) == 2
    assert it.records(DEAD_LETTERS) == []


def test_over_http(tmp_path: Path) -> None:
    with cluster(tmp_path) as it, DoorProcess(tmp_path / "door", it.environment) as door:
        check_shop(it, [sys.executable, str(EXAMPLES / "shop.py"), door.address], tmp_path)


def test_over_topics(tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        check_shop(it, [sys.executable, str(EXAMPLES / "shop_kafka.py"), it.servers], tmp_path)


@pytest.fixture(scope="module")
def shop_mjs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop in JavaScript with what it needs, installed as its first lines say."""
    if not (shutil.which("node") and (npm := shutil.which("npm"))):
        pytest.skip("no node and npm")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("shop.mjs", "package.json", "package-lock.json"):
        shutil.copy(EXAMPLES / name, folder)
    subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=HANG_S)
    return folder / "shop.mjs"


@pytest.mark.node
def test_over_topics_of_the_embedded_broker_in_javascript(shop_mjs: Path, tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        check_shop(it, ["node", str(shop_mjs), it.servers], tmp_path)


@pytest.mark.node
@pytest.mark.kafka
def test_over_topics_of_apache_kafka_in_javascript(shop_mjs: Path, kafka: str, tmp_path: Path) -> None:
    it = Cluster(kafka, tmp_path, {})
    make_topics_anew(kafka, it.settings.topics)
    try:
        check_shop(it, ["node", str(shop_mjs), it.servers], tmp_path)
    finally:
        it.close()


@pytest.mark.parametrize(("name", "address"), [("shop.py", f"http://{NOBODY}"), ("shop_kafka.py", NOBODY)])
def test_nobody_at_the_address_is_one_line(name: str, address: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), address], capture_output=True, timeout=HANG_S, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{address}: ")


@pytest.mark.node
def test_nobody_at_the_address_is_one_line_in_javascript(shop_mjs: Path) -> None:
    done = subprocess.run(["node", str(shop_mjs), NOBODY], capture_output=True, timeout=HANG_S, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{NOBODY}: ")
