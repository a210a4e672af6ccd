"""What `jaxrf doctor` sees."""

from __future__ import annotations

import json

import jax
import pytest

from jaxrf.cli import doctor, main


def test_doctor_prints_json(capsys):
    """--json gives versions, devices, cores and memory that agree with the process's own view."""
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["jax"] == jax.__version__
    assert sum(facts["devices"]["count"].values()) == jax.device_count()
    assert facts["cores"] >= 1
    assert facts["memory_available"] is None or facts["memory_available"] > 2**20


def test_doctor_prints_text(capsys):
    """The text names each package and the devices."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in (*doctor.PACKAGES, "devices", "cores", "memory", "cluster"):
        assert f"\n{word} " in f"\n{out}"


@pytest.mark.parametrize(
    ("environment", "kinds"),
    [
        ({"HOME": "/root"}, []),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, ["Slurm"]),
        ({"OMPI_COMM_WORLD_SIZE": "2", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ["Open MPI", "Kubernetes"]),
        ({"TPU_WORKER_ID": "0", "JAX_PROCESS_ID": "1"}, ["Cloud TPU", "JAX"]),
    ],
)
def test_cluster_kinds_are_seen_by_their_variables(environment, kinds):
    """Each kind of job is named with exactly the variables that are set."""
    seen = doctor.cluster(environment)
    assert list(seen) == kinds
    assert {name for found in seen.values() for name in found} == set(environment) - {"HOME"}


def test_cluster_variables_are_printed(monkeypatch, capsys):
    """A cluster variable appears in the text."""
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert main(["doctor"]) == 0
    assert "Slurm: SLURM_JOB_ID=4711" in capsys.readouterr().out


def test_a_backend_that_does_not_start_is_reported(monkeypatch, capsys):
    """Where JAX finds no device the rest is printed all the same, and the status is 1."""

    def fail():
        raise RuntimeError("Unable to initialize backend 'tpu'")

    monkeypatch.setattr(jax, "devices", fail)
    assert main(["doctor"]) == 1
    assert "Unable to initialize backend 'tpu'" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "cores"), [("200000 100000\n", 2.0), ("150000 100000", 1.5), ("max 100000", None)])
def test_the_core_quota_of_a_container_is_read(tmp_path, text, cores):
    """Quota over period is the number of cores; "max" is not a quota."""
    (tmp_path / "cpu.max").write_text(text)
    assert doctor._core_quota(tmp_path / "cpu.max") == cores


def test_memory_is_in_bytes(tmp_path):
    """Kilobytes of /proc/meminfo become bytes; limits are read as they are; absent files are None."""
    (tmp_path / "meminfo").write_text("MemTotal:  99 kB\nMemAvailable:   2000 kB\n")
    (tmp_path / "limit").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    assert doctor._memory_available(tmp_path / "meminfo") == 2000 * 1024
    assert doctor._memory_limit(tmp_path / "limit") == 1_000_000
    assert doctor._memory_limit(tmp_path / "none") is None
    assert doctor._memory_available(tmp_path / "gone") is None
    assert doctor._gigabytes(2_500_000_000) == "2.5 GB"
