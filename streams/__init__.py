"""Headrace: predicts what each shopper will do next and decides what to show them, on Kafka.

One thread of BLAS does a process's products, unless its environment says otherwise: they are small, and OpenBLAS' other
threads wait for each of them at full speed. The library reads its number of threads when numpy is imported, so it is
set here, before any module of this package can do that.
"""

import os

if "OMP_NUM_THREADS" not in os.environ:
    for _threads in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(_threads, "1")
