"""What becomes of memory that is freed: the process keeps some of it for the next batch.

By default glibc gives large blocks, and what is free at the heap's end, back to the system at once. Every batch then
asks for its arrays again, page by page, and the system clears each page before it hands it out: about a tenth of
Behaviour's time (``python -m benchmarks core``).
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""Free at the heap's end; and how large a block may be that comes from the heap."""


def keep_freed_memory() -> bool:
    """Has freed memory kept, as far as the C library can be told so; returns whether it could."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, _KEPT_BYTES) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD))
