"""A worker's threads give way to each other soon."""

import subprocess
import sys

WAITS = """
import sys, threading, time
from streams.engine.turns import take_short_turns

if {short}:
    take_short_turns()
is_over = False

def fold():
    while not is_over:
        sum(range(1000))

folding = threading.Thread(target=fold)
folding.start()
begun_s = time.perf_counter()
for _ in range(100):
    time.sleep(0)
print(time.perf_counter() - begun_s)
is_over = True
folding.join()
"""


def waits_s(*, short: bool) -> float:
    done = subprocess.run(
        [sys.executable, "-c", WAITS.format(short=short)], capture_output=True, text=True, check=True, timeout=60.0
    )
    return float(done.stdout)


def test_who_waits_for_one_that_computes_waits_less_than_by_default() -> None:
    """A ratio of ten, taken several times, of which half in one of three is enough on any machine."""
    assert any(waits_s(short=True) < waits_s(short=False) / 2 for _ in range(3))
