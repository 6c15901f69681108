"""Records a long closed loop, or compares one with the code of today: ``python -m tests.recording [--events 50000]``.

``--write FILE`` keeps the recording. ``--read FILE`` folds that one instead of running the simulator. Both print the
exact fingerprint of every topic and table, to be compared between two versions of the code on one machine.
``--expect`` writes the portable fingerprint that the test of the small recording compares with.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from tests.recording import recorded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--read", type=Path)
    parser.add_argument("--expect", type=Path)
    options = parser.parse_args()
    if options.read:
        pipeline = recorded.replay(recorded.read(options.read))
    else:
        entries, pipeline = recorded.record(options.events, options.seed)
        if options.write:
            recorded.write(options.write, entries)
    if options.expect:
        options.expect.write_bytes(msgspec.json.format(msgspec.json.encode(recorded.portable(pipeline))) + b"\n")
    for place, digest in recorded.exact(pipeline).items():
        sys.stdout.write(f"{digest}  {place}\n")


if __name__ == "__main__":
    main()
