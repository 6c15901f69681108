"""Supervised processes: they end with their parent, whatever it dies of, and nothing of them stays."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from streams.brokers.process_group import ProcessGroup
from streams.contract.errors import RefusedStart
from tests.timeouts import HANG_S, wait_until

PARENT: Final = """
import os, signal, sys, time
from streams.brokers.process_group import ProcessGroup

group = ProcessGroup("headrace-test-")
pid = group.start(["sleep", "86400"]).pid
fork = os.fork() if sys.argv[1] == "with a fork" else -1
if fork == 0:
    time.sleep(86400)
print(pid, fork, group.directory, flush=True)
if sys.argv[2] == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
group.close()
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("end", "exit_code"), [("is killed", -signal.SIGKILL), ("closes the group", 0)])
@pytest.mark.parametrize("parent", ["alone", "with a fork"])
def test_children_and_directory_go_with_the_parent(parent: str, end: str, exit_code: int) -> None:
    """A fork of the parent holds its connection open, so that the end of the connection alone would not tell."""
    ended = subprocess.Popen([sys.executable, "-c", PARENT, parent, end], stdout=subprocess.PIPE, text=True)
    assert ended.stdout is not None
    pid, fork, directory = ended.stdout.readline().split()
    try:
        assert ended.wait() == exit_code
        wait_until(lambda: not is_alive(int(pid)) and not Path(directory).exists())
    finally:
        if int(fork) > 0:
            os.kill(int(fork), signal.SIGKILL)
        ended.stdout.close()


def test_a_process_can_be_killed_and_another_started_in_its_place() -> None:
    with ProcessGroup("headrace-test-") as group:
        log = group.directory / "log"
        process = group.start(["sleep", "86400"], log=log)
        assert process.exit_code is None
        process.kill()
        assert process.exit_code == -signal.SIGKILL
        process.kill()
        other = group.start([sys.executable, "-c", "print('hello')"], log=log)
        assert other.wait(HANG_S) == 0
        assert log.read_text() == "hello\n"
    assert not group.directory.exists()


def test_what_runs_at_the_end_is_killed() -> None:
    with ProcessGroup("headrace-test-") as group:
        process = group.start(["sleep", "86400"])
    assert not is_alive(process.pid)


def test_a_block_ends_its_process_in_peace_and_sigterm_is_not_ignored() -> None:
    with ProcessGroup("headrace-test-") as group:
        with group.start(["sleep", "86400"]) as process:
            pass
        assert process.exit_code == -signal.SIGTERM


def test_ctrl_c_reaches_only_the_parent() -> None:
    with ProcessGroup("headrace-test-") as group:
        process = group.start(["sleep", "86400"])
        assert os.getpgid(process.pid) != os.getpgid(0)
        os.killpg(os.getpgid(process.pid), signal.SIGTERM)
        assert process.wait(HANG_S) == -signal.SIGTERM
        assert group.start(["true"]).wait(HANG_S) == 0  # the supervisor goes on


def test_standard_input_may_be_a_socket() -> None:
    with ProcessGroup("headrace-test-") as group:
        ours, theirs = socket.socketpair()
        echo = "import socket; channel = socket.socket(fileno=0); channel.sendall(channel.recv(100))"
        with ours, theirs:
            process = group.start([sys.executable, "-c", echo], stdin=theirs)
            theirs.close()
            ours.sendall(b"hello")
            assert ours.recv(100) == b"hello"
            assert process.wait(HANG_S) == 0
            assert ours.recv(100) == b""


def test_a_request_that_was_interrupted_does_not_confuse_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with ProcessGroup("headrace-test-") as group:
        process = group.start(["sleep", "86400"])
        with monkeypatch.context() as patch:
            patch.setattr(group, "_reply", interrupted)
            with pytest.raises(KeyboardInterrupt):
                process.signal(0)
        other = group.start(["sleep", "86400"])
        assert is_alive(other.pid)
        assert other.pid != process.pid


def test_a_supervisor_that_was_killed_is_an_error() -> None:
    with ProcessGroup("headrace-test-") as group:
        group._supervisor.kill()
        group._supervisor.wait()
        with pytest.raises(RefusedStart, match="supervisor"):
            group.start(["true"])
    group.directory.rmdir()
