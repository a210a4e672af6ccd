"""Judge many random programs: `python -m tests.fuzz.run --programs 1000`; exit status 1 if one came out wrong."""

from __future__ import annotations

import argparse
import collections
import os
import re
import sys
import time
import traceback

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # programs run once; see conftest.py

import jax

from tests.fuzz.judge import TOLERANCE, judge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float64", help="of the maps")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    worst, began = 0.0, time.perf_counter()
    for seed in range(options.first, options.first + options.programs):
        try:
            verdict = judge(seed, options.dtype)
        except Exception:
            counts["raised"] += 1
            print(f"{seed}: {traceback.format_exc().strip().splitlines()[-1]}", flush=True)
            continue
        if verdict.refused:
            counts["refused: " + re.sub(r"\d+", "N", verdict.refused)] += 1
        elif verdict.wrong:
            counts["wrong"] += 1
            print(f"{seed}: {verdict.wrong}; steps {', '.join(verdict.steps)}", flush=True)
        else:
            counts["right, boxes exact" if verdict.exact else "right, boxes said to be wider"] += 1
            worst = max(worst, verdict.error)
        done = seed + 1 - options.first
        if done % 50 == 0:
            jax.clear_caches()  # no program comes twice
            print(f"{done} of {options.programs} in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    for what, count in counts.most_common():
        print(f"{count:6d}  {what}")
    print(f"largest difference of a map that counts as right: {worst:.2g} of its peak, in {options.dtype}")
    return int(bool(counts["wrong"] or counts["raised"]))


if __name__ == "__main__":
    sys.exit(main())
