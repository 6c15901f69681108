"""A worker's threads give way to each other soon."""

import subprocess
import sys

WAITS = """
import threading, time
from streams.engine.runtime_tuning import shorten_switch_interval

if {short}:
    shorten_switch_interval()
is_over, folded = False, 0

def fold():
    global folded
    while not is_over:
        sum(range(1000))
        folded += 1

folding = threading.Thread(target=fold)
folding.start()
for _ in range(100):
    time.sleep(0)
print(folded)
is_over = True
folding.join()
"""


def folded_meanwhile(*, short: bool) -> int:
    """How much one thread computes while another waits a hundred times until it may go on."""
    done = subprocess.run([sys.executable, "-c", WAITS.format(short=short)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_who_waits_for_one_that_computes_waits_less_than_by_default() -> None:
    """Ten times less; half, in one of three tries, is enough on any machine."""
    assert any(folded_meanwhile(short=True) < folded_meanwhile(short=False) / 2 for _ in range(3))
