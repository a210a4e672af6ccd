"""Random damage to the files of a finished sweep and of saved results: every number that is read is right, or is refused.

python -m tests.sweeps.mutations 1000
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import jaxrf
from jaxrf.errors import JaxrfError
from tests.sweeps.small import MODEL, digests, last, made

SWEEP = {"model": {**MODEL, "depth": [1, 2]}, "inputs": "noise:1", "seeds": "0:40", "measures": ["sigma"]}
ENDINGS = ("zarr", "nc", "npz")


def finished(folder: Path) -> Path:
    """A finished sweep of two tasks in some blocks, and a result of it in all formats."""
    for seeds in ("0:10", "0:20", "0:40"):
        assert last(made(**{**SWEEP, "seeds": seeds}), folder / "sweep").state == "done"
    for ending in ENDINGS:
        jaxrf.open(folder / "sweep").result(depth=2).save(folder / f"r.{ending}")
    return folder


def damage(folder: Path, chance: random.Random) -> str:
    """Do something to a file below the folder; says what."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = chance.choice(files)
    data, name = bytearray(file.read_bytes()), file.relative_to(folder)
    kind = chance.choice(["byte", "cut", "delete", "swap", "digit", "digit", "add"])
    digits = [at for at, byte in enumerate(data) if chr(byte).isdigit()]
    if kind == "byte" and data:
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    elif kind == "cut":
        del data[chance.randrange(len(data) + 1) :]
    elif kind == "digit" and digits:
        at = chance.choice(digits)
        data[at] = ord(chance.choice([d for d in "0123456789" if d != chr(data[at])]))
    elif kind == "add":
        data += bytes(chance.randrange(1, 9))
    elif kind == "delete":
        file.unlink()
        return f"{name} deleted"
    else:
        other = chance.choice([one for one in files if one != file])
        data = bytearray(other.read_bytes())
        other.write_bytes(file.read_bytes())
        kind = f"swapped with {other.relative_to(folder)}"
    file.write_bytes(bytes(data))
    return f"{name}: {kind}"


def numbers(folder: Path, what: str) -> list[np.ndarray]:
    """Everything that is a number in a sweep, or in a saved result."""
    if what == "sweep":
        opened = jaxrf.open(folder / "sweep")
        rows = [[float(row["sigma"]), float(row["sigma_stderr"]), row["samples"]] for row in opened.table()]
        found = [opened.result(depth=depth) for depth in (1, 2)]
        return [np.array(rows), *(array for one in found for array in arrays(one))]
    return arrays(jaxrf.load(folder / f"r.{what}"))


def arrays(result) -> list[np.ndarray]:
    """The numbers of a result."""
    row = result.theoretical
    counts = np.array([result.count, result.dead, result.nonfinite, *row.size, *row.stride, *row.padding], float)
    return [
        result.mean,
        result.stderr,
        result.origin,
        result.units,
        counts,
        *(g.totals() for g in result.groups.values()),
    ]


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def tried(whole: Path, expected: dict, chance: random.Random, copy: Path, repair: bool) -> tuple[str, str]:
    """Damage a copy: what was done, and "right", "refused" or "wrong"; where asked for, it is repaired then."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    what, outcomes = damage(copy, chance), set()
    for part, right in expected.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                outcomes.add("right" if same(numbers(copy, part), right) else "wrong")
        except JaxrfError:
            outcomes.add("refused")
    if repair and what.startswith("sweep"):
        end = last(made(**SWEEP), copy / "sweep")
        mended = end.state == "done" and digests(copy / "sweep") == digests(whole / "sweep")
        table = (copy / "sweep" / "table.csv").read_bytes() == (whole / "sweep" / "table.csv").read_bytes()
        same_again = same(numbers(copy, "sweep"), expected["sweep"])
        outcomes |= set() if mended and table and same_again else {"wrong"}
    return what, next(one for one in ("wrong", "refused", "right") if one in outcomes)


def trial(count: int, seed: int, folder: Path, every: int = 10) -> tuple[Counter, list[str]]:
    """Outcomes of so many mutations, and what was done where a number was wrong; every tenth is repaired."""
    whole, chance = finished(folder / "whole"), random.Random(seed)
    expected = {what: numbers(whole, what) for what in ("sweep", *ENDINGS)}
    found = [tried(whole, expected, chance, folder / "copy", not n % every) for n in range(count)]
    return Counter(outcome for _, outcome in found), [what for what, outcome in found if outcome == "wrong"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        counts, wrong = trial(int(sys.argv[1]), int((*sys.argv, "0")[2]), Path(temporary))
        print(dict(counts), *wrong, sep="\n")
        sys.exit(bool(wrong))
