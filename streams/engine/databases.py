"""How RocksDB is opened: all tables and partitions of a worker share one cache, and one bound on write buffers."""

from typing import Final

import rocksdict
from faust.stores.rocksdb import RocksDBOptions

from streams.contract.settings import Engine

_FILTER_BITS: Final = 10
"""A key: about one look-up in a hundred for a row that is not there reads the disk."""
_BUFFER_SHARE: Final = 8
"""One database may fill so much of all write buffers, so that a few do not make the others write little files."""


class Databases(RocksDBOptions):
    """Options of databases that take a bounded part of memory together, however many partitions a worker has."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(use_rocksdict=True, write_buffer_size=max(engine.write_buffer_bytes // _BUFFER_SHARE, 1))
        self.cache = rocksdict.Cache(engine.block_cache_bytes)
        self.buffers = rocksdict.WriteBufferManager(engine.write_buffer_bytes, False)

    def as_options(self) -> rocksdict.Options:
        options: rocksdict.Options = super().as_options()
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(self.cache)
        blocks.set_bloom_filter(_FILTER_BITS, block_based=False)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self.buffers)
        return options
