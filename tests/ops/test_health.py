"""A worker is well while it moves, ready while it has its partitions, and says why where it is not."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from streams.contract.errors import HeadraceError, RefusedStart
from streams.contract.settings import Http
from streams.engine.readers import Unread
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition
from streams.observability.health import Health
from streams.observability.http_server import ADDRESS_FILE, HttpServer, probe
from tests.timeouts import HANG_S

P0, P1 = ("clickstream", 0), ("clickstream", 1)
WELL = Condition(frozenset({P0, P1}), None, {P0: 1.0, P1: 2.0}, {P0: 0, P1: 7}, 0.5)


class Worker:
    """What a worker says of itself."""

    def __init__(self, condition: Condition = WELL, *, is_started: bool = True) -> None:
        self.condition = condition
        self.health = Health(lambda: is_started, lambda: self.condition, stalled_s=20.0, sources={"clickstream"})


@pytest.mark.parametrize(
    ("condition", "moves", "is_ready"),
    [
        (WELL, True, True),
        (WELL._replace(stalled_for_s={P0: 1.0, P1: 20.1}), False, False),
        (WELL._replace(stalled_for_s={P0: 20.0, P1: 0.0}), True, True),
        (WELL._replace(rebalancing_s=3.0), True, False),
        (WELL._replace(rebalancing_s=20.1), False, False),
        (WELL._replace(assigned=None, rebalancing_s=3.0), True, False),
        (WELL._replace(assigned=frozenset(), stalled_for_s={}, lag={}), True, True),
        (WELL._replace(silent_s=60.0), True, False),
        (WELL._replace(changed={"clickstream": "has 8 partitions"}), False, False),
        (WELL._replace(unread={("clickstream", 2): Unread(5, 61.0)}), False, False),
        (WELL._replace(unread={("examples", 1): Unread(5, 61.0)}), True, False),
    ],
    ids=[
        "well",
        "stands",
        "within patience",
        "rebalances",
        "rebalance stands",
        "new",
        "spare",
        "broker silent",
        "topic changed",
        "unread by its group",
        "unread by others",
    ],
)
def test_health_is_movement_and_readiness_is_having_all_that_it_takes(
    condition: Condition, moves: bool, is_ready: bool
) -> None:
    health = Worker(condition).health
    assert (not health.reasons_unhealthy(), not health.reasons_not_ready()) == (moves, is_ready)


def test_a_worker_that_reads_its_feeds_is_well_and_not_ready() -> None:
    health = Worker(is_started=False).health
    assert not health.reasons_unhealthy()
    assert health.reasons_not_ready()


def test_what_stands_still_is_named() -> None:
    [why] = Worker(WELL._replace(stalled_for_s={P0: 1.0, P1: 33.0})).health.reasons_unhealthy()
    assert why == "clickstream[1] has 7 records to read and has not moved for 33 s"


def test_what_nobody_reads_is_named_whoever_should_read_it() -> None:
    health = Worker(WELL._replace(unread={("examples", 1): Unread(5, 61.4)})).health
    assert health.reasons_not_ready() == ["examples[1] has 5 records that nobody has read for 61 s"]
    assert health.facts()["unread"] == {"examples-1": 5}
    assert health.facts()["lag"] == 7 + 5


def test_a_recovery_says_how_far_it_is_to_who_asks_whether_the_worker_is_ready() -> None:
    recovery = Recovery(begun_s=0.0, seconds=2.0, rows=60_000, offsets=75_000, left=25_000)
    for assigned in (None, WELL.assigned):
        health = Worker(WELL._replace(assigned=assigned, rebalancing_s=1.0, recovery=recovery)).health
        [why] = health.reasons_not_ready()
        assert why.endswith("their rows recovered: 60,000 rows recovered, 30,000 rows/s, 75% done")
        assert health.facts()["recovery"] == {"rows": 60_000, "rows_per_s": 30_000, "done": 0.75, "seconds": 2.0}


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def server(worker: Worker, tmp_path: Path) -> Iterator[HttpServer]:
    registry = CollectorRegistry()
    Counter("sold", "Things.", registry=registry).inc(3)
    server = HttpServer(Http(), str(tmp_path / "data"), worker.health, registry)
    server.start()
    yield server
    server.stop()


def get(data_dir: Path, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection((data_dir / ADDRESS_FILE).read_text().strip(), timeout=HANG_S)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    answer = response.status, response.headers["Content-Type"], response.read()
    connection.close()
    return answer


@pytest.mark.usefixtures("server")
def test_over_http_a_stalled_worker_is_503_with_its_reason(worker: Worker, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert [get(data_dir, path)[0] for path in ("/healthz", "/readyz?verbose")] == [200, 200]
    worker.condition = WELL._replace(stalled_for_s={P1: 33.0})
    status, content_type, body = get(data_dir, "/healthz")
    assert (status, content_type) == (503, "application/json")
    assert json.loads(body)["why"] == ["clickstream[1] has 7 records to read and has not moved for 33 s"]
    assert get(data_dir, "/healthz", "HEAD") == (503, "application/json", b"")


@pytest.mark.usefixtures("server")
def test_metrics_are_in_the_format_that_is_asked_for_and_other_paths_are_404(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    status, content_type, body = get(data_dir, "/metrics")
    assert (status, b"sold_total 3.0" in body) == (200, True)
    assert content_type.startswith("text/plain")
    assert get(data_dir, "/metrics", Accept="application/openmetrics-text")[2].endswith(b"# EOF\n")
    assert get(data_dir, "/../../etc/passwd")[0] == 404
    assert get(data_dir, "/metrics", "POST")[0] == 501


@pytest.mark.usefixtures("server")
def test_a_client_that_says_nothing_or_nonsense_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    host, _, port = (tmp_path / "data" / ADDRESS_FILE).read_text().strip().partition(":")
    with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))) as rude:
        rude.sendall(b"\x00\xff" * 500 + b"\r\n\r\n")
        assert get(tmp_path / "data", "/healthz")[0] == 200


def test_a_port_that_is_taken_is_a_refused_start_that_names_the_key(worker: Worker, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(Http(port=port), str(tmp_path), worker.health, CollectorRegistry())
        with pytest.raises(RefusedStart, match=rf"127\.0\.0\.1:{port} .*set http\.port"):
            server.start()


@pytest.mark.usefixtures("server")
def test_the_probe_finds_the_worker_by_its_data_directory(worker: Worker, tmp_path: Path) -> None:
    assert probe(tmp_path / "data", "/readyz")[0]
    worker.condition = WELL._replace(rebalancing_s=1.0)
    good, answer = probe(tmp_path / "data", "/readyz")
    assert not good
    assert json.loads(answer)["status"] == "not ready"


def test_the_probe_is_not_fooled_by_what_a_killed_worker_left(server: HttpServer, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with pytest.raises(HeadraceError, match="no worker runs on"):
        probe(killed, "/healthz")
    address = (tmp_path / "data" / ADDRESS_FILE).read_text()
    (killed / ADDRESS_FILE).write_text(address)
    with pytest.raises(HeadraceError, match="has ended; another one answers"):
        probe(killed, "/healthz")
    server.stop()
    with pytest.raises(HeadraceError, match="does not answer"):
        probe(killed, "/healthz")
    server.start()
