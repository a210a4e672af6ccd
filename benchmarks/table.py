"""Write the tables of `README.md` from the JSON files in `results/`.

Each file has a place in the README between `<!-- NAME -->` and `<!-- end NAME -->`; what stands there is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from _common import RESULTS, shown

README = Path(__file__).parent / "README.md"


def markdown(content: dict[str, Any]) -> str:
    """All tables of one result file, below the machine that they were measured on."""
    parts = []
    for title, rows in content["tables"].items():
        columns = list(dict.fromkeys(name for row in rows.values() for name in row["columns"]))
        lines = [f"| {title} | " + " | ".join(name.strip() for name in columns) + " |"]
        lines.append("|---|" + "".join("---|" if _words(rows, name) else "---:|" for name in columns))
        for name, row in rows.items():
            lines.append(f"| {name} | " + " | ".join(shown(row["columns"].get(column)) for column in columns) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join([_machines(content), *parts])


def _words(rows: dict[str, Any], column: str) -> bool:
    return any(isinstance(row["columns"].get(column), str) for row in rows.values())


def _machines(content: dict[str, Any]) -> str:
    """One sentence for each machine and set of versions that rows come from."""
    found: dict[str, None] = {}
    for rows in content["tables"].values():
        for row in rows.values():
            facts = row["details"]["machine"]
            versions = ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"].items()))
            found[f"{facts['cpu']}, {facts['cores']} cores, {facts['date'][:10]}; {versions}."] = None
    return "\n".join(found)


def fill(page: str, name: str, text: str) -> str:
    """The page with `text` in the place of a result file.

    Raises:
        ValueError: the page has no such place.
    """
    place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
    if not place.search(page):
        raise ValueError(f"{README.name} has no place for {name}: add <!-- {name} --> and <!-- end {name} -->.")
    return place.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page)


def main() -> None:
    """Fill in every result file that is there."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    arguments.add_argument("--page", type=Path, default=README, help="page to fill in")
    options = arguments.parse_args()
    page = options.page.read_text()
    for file in sorted(options.results.glob("*.json")):
        page = fill(page, file.stem, markdown(json.loads(file.read_text())))
    options.page.write_text(page)


if __name__ == "__main__":
    main()
