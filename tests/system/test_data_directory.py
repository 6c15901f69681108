"""A data directory belongs to one worker; what a worker cannot work with, it says in one line, and ends with 3."""

import subprocess
import sys
from pathlib import Path

import pytest

from streams.contract.errors import RefusedStart
from streams.engine.data_directory import lock_data_directory
from tests.system.cluster import ROOT, cluster
from tests.timeouts import HANG_S, wait_until


def reasons(stderr: bytes) -> str:
    (line,) = stderr.decode().splitlines()
    assert "worker-ends" in line
    assert "code=3" in line
    return line


def test_a_second_worker_on_a_data_directory_is_refused_and_the_first_stays_well(tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        worker = it.start("disk")
        address = worker.data_dir / "http-address"
        wait_until(address.exists, worker.said)
        second = it.headrace("worker", "--data", str(worker.data_dir), code=3)
        line = reasons(second.stderr)
        assert f"is in use by the worker with process id {worker.pid}" in line
        it.headrace("health", "--data", str(worker.data_dir))
        worker.kill()
        again = it.start("disk")
        wait_until(lambda: "worker-starts" in again.said(), again.said)


def test_a_path_that_cannot_be_a_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RefusedStart, match="cannot be used"):
        lock_data_directory(tmp_path / "file")
    with cluster(tmp_path) as it:
        refused = it.headrace("worker", "--data", str(tmp_path / "file" / "data"), code=3)
    assert "cannot be used" in reasons(refused.stderr)


def test_too_few_open_files_are_one_line_that_says_how_many_are_needed(tmp_path: Path) -> None:
    with cluster(tmp_path) as it:
        command = [sys.executable, "-m", "streams.cli.main", "worker", "--data", str(tmp_path / "disk")]
        refused = subprocess.run(
            ["bash", "-c", 'ulimit -n 100; exec "$@"', "bash", *command],
            cwd=ROOT,
            env=it.environment,
            capture_output=True,
            timeout=HANG_S,
            check=False,
        )
    assert refused.returncode == 3, refused.stderr
    assert "the limit of open files is 100" in reasons(refused.stderr)


def test_the_limit_of_open_files_is_raised_as_far_as_may_be() -> None:
    program = (
        "import resource; from streams.engine.data_directory import allow_open_files; allow_open_files(28); "
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for soft, hard in ((100, 600), (600, 700), (456, 456)):
        limits = f"ulimit -Sn {soft}; ulimit -Hn {hard}"
        done = subprocess.run(
            ["bash", "-c", f'{limits}; exec "$@"', "bash", sys.executable, "-c", program],
            cwd=ROOT,
            capture_output=True,
            timeout=HANG_S,
            check=True,
        )
        assert done.stdout.split() == [str(hard).encode()] * 2


def test_a_directory_that_may_not_be_written_is_refused() -> None:
    with pytest.raises(RefusedStart, match="make it writable, or choose another one"):
        lock_data_directory(Path("/proc/self"))  # Not even root may write there.
