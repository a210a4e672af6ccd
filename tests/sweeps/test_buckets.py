"""Sweeps in buckets of Google's and Amazon's storage, over HTTP: the bits of a folder, and what happens without network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPECIFICATION = """
input = "8x9x3"
seeds = "0:30"
[model]
source = "zoo:conv_stack"
depth = 1
width = 2
"""
IMPATIENT = """
import sys, time
import tensorstore as ts
from jaxrf.store import location
retries = {{"max_retries": 2, "initial_delay": "100ms", "max_delay": "100ms"}}
location.CONTEXT = ts.Context({{"gcs_request_retries": retries, "s3_request_retries": retries}})
location.PATIENCE = {patience}
from jaxrf.cli import main
from jaxrf.sweeps import job, worker
whole, job.SECONDS = worker.areas, 0
worker.areas = lambda *chunks: time.sleep({pause}) or whole(*chunks)
sys.exit(main(sys.argv[1:]))
"""
"""The program with a block for each chunk, which waits less for a server than people would want."""


class Bucket:
    """A server that can be stopped and started; what was stored stays."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("bucket_server.py")), str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def environment(self) -> dict[str, str]:
        """With it, programs take this for both clouds."""
        here = f"http://127.0.0.1:{self.port}"
        google = {"TENSORSTORE_GCS_HTTP_URL": here, "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none"}
        amazon = {"AWS_ENDPOINT_URL": here, "AWS_REGION": "here"}
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        return {**os.environ, **google, **amazon, **keys}

    def stored(self, part: str) -> list[str]:
        """Names of objects that hold `part`."""
        return [file.name for file in self.folder.iterdir() if part.replace("/", "%2F") in file.name]

    def sweep(self, file: Path, place: str, *flags: str, pause: float = 0, patience: float = 20) -> subprocess.Popen:
        code = IMPATIENT.format(pause=pause, patience=patience)
        command = [sys.executable, "-c", code, "sweep", str(file), "--out", place, "--quiet", *flags]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def python(self, code: str) -> object:
        """What a program prints as JSON."""
        command = [sys.executable, "-c", f"import json, sys, time\n{code}"]
        return json.loads(subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True).stdout)

    def digests(self, place: str) -> object:
        return self.python(
            "from jaxrf.store.location import Location\n"
            f"print(json.dumps(Location.at({place!r}).read_json('run.json')['results']))"
        )


@pytest.fixture
def bucket(tmp_path):
    made = Bucket(tmp_path / "bucket")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The specification's file, and the digests of a run in a folder."""
    from jaxrf.cli import main

    folder = tmp_path_factory.mktemp("whole")
    (folder / "a.toml").write_text(SPECIFICATION)
    assert main(["sweep", str(folder / "a.toml"), "--out", str(folder / "out"), "--quiet"]) == 0
    return folder / "a.toml", json.loads((folder / "out" / "run.json").read_text())["results"]


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Status, and what was said on stderr, without tensorstore's log of where it looks for credentials.

    A process that does not end by itself fails the test; how fast it ends depends on the machine.
    """
    said = process.communicate(timeout=240)[1].splitlines(keepends=True)
    return process.returncode, "".join(line for line in said if not re.match(r"[IWE]\d{4} ", line))


PLACES = ["gs://bucket/some/sweep", "s3://bucket/some/sweep"]


@pytest.mark.parametrize("place", PLACES)
def test_a_bucket_is_written_once_and_listed(bucket, place):
    """The first to add a key wins, what is put replaces, keys are listed in pages, and what is removed is gone."""
    found = bucket.python(
        f"from jaxrf.store.location import Location\nplace = Location.at({place!r})\n"
        "added = [place.add('a/b', b'1'), place.add('a/b', b'2')]\n"
        "for i in range(250): place.put(f'k/{i:03d}', b'x')\n"
        "place.put('k/007', b'y'); place.remove('k/249'); place.remove('k/none')\n"
        "print(json.dumps([added, place.read('a/b').decode(), place.read('none'), place.read('k/007').decode(),\n"
        "    place.listed('k/'), place.listed()[-1]]))"
    )
    keys = [f"k/{i:03d}" for i in range(249)]
    assert found == [[True, False], "1", None, "y", keys, "k/248"]


@pytest.mark.parametrize("place", PLACES)
def test_of_two_processes_one_adds(bucket, place):
    """Processes that add the same keys at the same moment share them out: each is written once."""
    code = (
        f"from jaxrf.store.location import Location\nplace = Location.at({place!r})\n"
        "while time.time() < float(sys.argv[1]): pass\n"
        "print(json.dumps([i for i in range(60) if place.add(f'k{i}', sys.argv[2].encode())]))"
    )
    start = str(time.time() + 2)
    command = [sys.executable, "-c", f"import json, sys, time\n{code}", start]
    runs = [
        subprocess.Popen([*command, name], env=bucket.environment, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    mine = [set(json.loads(run.communicate(timeout=240)[0])) for run in runs]
    assert not mine[0] & mine[1] and mine[0] | mine[1] == set(range(60))


@pytest.mark.slow
@pytest.mark.parametrize("place", [PLACES[0], pytest.param(PLACES[1], marks=pytest.mark.slow)])
def test_a_sweep_in_a_bucket_has_the_bits_of_one_in_a_folder(bucket, whole, place):
    """Written, merged and finished through HTTP; the second time there is nothing to do."""
    file, expected = whole
    assert ended(bucket.sweep(file, place)) == (0, "")
    assert bucket.digests(place) == expected
    assert len(bucket.stored("/blocks/")) == 30 and bucket.stored("results.zarr/zarr.json")
    before = sorted(bucket.folder.iterdir())
    assert ended(bucket.sweep(file, place)) == (0, "")
    assert sorted(bucket.folder.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_lost_server_ends_the_sweep_and_damages_nothing(bucket, whole, place):
    """Killed in the middle of a sweep, it ends by itself; once it is back, the same command does the rest."""
    file, expected = whole
    process = bucket.sweep(file, place, pause=0.1)
    limit = time.monotonic() + 240
    while len(bucket.stored("/blocks/")) < 5 and time.monotonic() < limit:
        time.sleep(0.02)
    bucket.kill()
    status, said = ended(process)
    assert status == 2 and place in said and "cannot be reached" in said and "the network" in said, said
    assert 5 <= len(bucket.stored("/blocks/")) < 30
    status, said = ended(bucket.sweep(file, place))
    assert status == 2 and "cannot be reached" in said, said
    bucket.start()
    assert ended(bucket.sweep(file, place)) == (0, "")
    assert bucket.digests(place) == expected
    assert not bucket.stored("damaged")


@pytest.mark.slow
def test_a_server_that_is_silent_is_given_up(bucket, whole):
    """One that takes connections and never answers, as a broken gateway does, is not waited for without end."""
    import signal

    file, _ = whole
    bucket.process.send_signal(signal.SIGSTOP)
    status, said = ended(bucket.sweep(file, PLACES[0], patience=2))
    bucket.process.send_signal(signal.SIGCONT)
    assert status == 2 and "no answer within 2 s" in said, said
