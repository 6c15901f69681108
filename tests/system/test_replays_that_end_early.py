"""The ends of a replay: bad rows, a pipe, a file that was cut, and Ctrl-C."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import orjson
import pytest

from streams.contract.events import decode_event
from tests.system.cluster import ROOT, Cluster, cluster
from tests.timeouts import HANG_S, Deadline

BEGIN_S = 1_511_600_000
LINES = [f"{number % 7},{number % 5},1,pv,{BEGIN_S + number}" for number in range(300)]


@pytest.fixture
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("early")) as made:
        yield made


def kinds(it: Cluster) -> list[str]:
    return [decode_event(record.value).kind for record in it.records("clickstream")]


def replaying(it: Cluster, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", "replay", "-", "--format", "taobao", *arguments],
        cwd=ROOT,
        env=it.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_pipe_with_a_few_bad_rows_is_replayed_and_the_ticks_follow_the_last_plausible_time(it: Cluster) -> None:
    bad = ["3,1,1,pv,-5", "", "3,1,1,pv,2100000000", "3,1"]
    text = "\r\n".join([*LINES[:100], *bad, *LINES[100:]]) + "\r\n"
    out, err = replaying(it).communicate(text.encode(), HANG_S)
    assert b"3 bad rows are left out (--strict refuses them): line 101: the time '-5' in s is not between" in err
    assert err.count(b"checking -: 301 events") == 2
    assert b"replaying standard-input: 300 of 300 (100%) events" in err
    summary = orjson.loads(out)
    assert (summary["produced"], summary["left_out"], summary["error"]) == (304, 3, "")
    events = [decode_event(record.value) for record in it.records("clickstream")]
    assert {event.timestamp_ms for event in events if event.kind == "tick"} == {(BEGIN_S + 299 + 7200) * 1000}


def test_a_file_that_was_cut_and_a_strict_replay_publish_nothing(it: Cluster) -> None:
    cut, wild = it.folder / "cut.csv", it.folder / "wild.csv"
    cut.write_text("\n".join(LINES)[:-3])
    wild.write_text("\n".join([*LINES, "3,1,1,pv,2100000000"]) + "\n")
    done = it.headrace("replay", str(cut), "--format", "taobao", code=2)
    assert b"line 300, the last one, has no end" in done.stderr
    done = it.headrace("replay", str(wild), "--format", "taobao", "--strict", code=2)
    assert b"line 301: the time 2036-07-18 13:20 is implausible" in done.stderr
    assert kinds(it) == []


def test_ctrl_c_ends_a_replay_with_its_ticks_and_its_summary(it: Cluster) -> None:
    process = replaying(it, "--speed", "1x")
    assert process.stdin is not None
    # An hour apart, so that none but the first is ever due.
    hourly = [f"{number},{number},1,pv,{BEGIN_S + 3600 * number}" for number in range(len(LINES))]
    process.stdin.write("\n".join(hourly).encode() + b"\n")
    process.stdin.close()
    process.stdin = None
    deadline = Deadline(lambda: "nothing was published")
    while not kinds(it):
        deadline.check()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, err
    summary = orjson.loads(out)
    assert summary["stopped"]
    assert kinds(it).count("tick") == it.settings.kafka.partitions
    assert len(kinds(it)) == summary["produced"] < len(LINES)
