"""What all databases of a worker take together stays within the bounds that settings give."""

import time
from pathlib import Path

import rocksdict

from streams.contract.settings import Engine
from streams.engine.tables import Databases
from tests.timeouts import Deadline

MIB = 2**20
DATABASES = 40
WRITE_BUFFERS = 16 * MIB


def test_many_databases_share_one_cache_and_one_bound_on_write_buffers(tmp_path: Path) -> None:
    databases = Databases(Engine(block_cache_bytes=MIB, write_buffer_bytes=WRITE_BUFFERS))
    opened = [
        rocksdict.Rdict(str(tmp_path / str(number)), options=databases.as_options()) for number in range(DATABASES)
    ]
    for begin in range(0, 4000, 400):
        for database in opened:
            batch = rocksdict.WriteBatch(raw_mode=True)
            for number in range(begin, begin + 400):
                batch.put(b"%d" % number, b"%d" % number * 50)
            database.write(batch)
    # All have written 40 MiB and none has filled a buffer of its own: what is flushed is flushed for all of them.
    # RocksDB looks at the bound when it writes, and goes beyond it while it flushes.
    deadline = Deadline(databases.buffers.get_usage)
    while databases.buffers.get_usage() > 1.5 * WRITE_BUFFERS:
        deadline.check()
        for database in opened:
            database[b"0"] = b"0"
        time.sleep(0.05)
    assert databases.buffers.get_usage() > WRITE_BUFFERS / 4
    for database in opened:
        database.flush()
        assert sum(len(value) for value in database.values()) > MIB / 2
    assert 0 < databases.cache.get_usage() <= MIB
    for database in opened:
        database.close()
