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

from tests.fuzz.judge import NO_PATH, TOLERANCE, judge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float64", help="of the maps")
    options = parser.parse_args()
    run = Run(options.dtype)
    try:
        for done, seed in enumerate(range(options.first, options.first + options.programs), start=1):
            run.add(seed)
            if done % 50 == 0:
                jax.clear_caches()  # no program comes twice
                print(f"{done} of {options.programs} in {time.process_time():.0f} s", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped before the end", flush=True)
    return run.end()


class Run:
    """What came out of programs, counted and said; programs without any path have nothing to be judged."""

    def __init__(self, dtype: str):
        self.dtype, self.worst = dtype, 0.0
        self.counts: collections.Counter[str] = collections.Counter()

    def add(self, seed: int) -> None:
        """Judge one program; those that came out wrong are printed."""
        try:
            verdict = judge(seed, self.dtype)
        except Exception:
            self.counts["raised"] += 1
            print(f"{seed}: {traceback.format_exc().strip().splitlines()[-1]}", flush=True)
            return
        if verdict.refused:
            self.counts["refused: " + re.sub(r"\d+", "N", verdict.refused)] += 1
            if verdict.refused != NO_PATH:
                print(f"{seed}: refused, {verdict.refused}; steps {', '.join(verdict.steps)}", flush=True)
        elif verdict.wrong:
            self.counts["wrong"] += 1
            print(f"{seed}: {verdict.wrong}; steps {', '.join(verdict.steps)}", flush=True)
        else:
            self.counts["right, boxes exact" if verdict.exact else "right, boxes said to be wider"] += 1
            self.worst = max(self.worst, verdict.error)

    def end(self) -> int:
        """Print the counts; the exit status."""
        for what, count in self.counts.most_common():
            print(f"{count:6d}  {what}")
        print(f"largest difference of a map that counts as right: {self.worst:.2g} of its peak, in {self.dtype}")
        return int(bool(self.counts["wrong"] or self.counts["raised"]))


if __name__ == "__main__":
    sys.exit(main())
