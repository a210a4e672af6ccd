"""Check the built pages: `python docs/check_links.py docs/_build/html` names links that lead nowhere, and what is fetched.

Every link within the documentation has to have its page and its anchor, and no page may fetch a script, a font or a
picture from elsewhere, so that it can be read without a network. Links to other sites are not followed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINK = re.compile(r'<(\w+)[^>]*?\s(?:href|src)="([^"]*)"')
FETCHES = {"script", "img", "link", "iframe", "source", "image"}


def problems(root: Path) -> Iterator[str]:
    """A line for each link of the pages below `root` that is broken or fetches from elsewhere."""
    for page in sorted(root.rglob("*.html")):
        for tag, link in LINK.findall(page.read_text("utf-8")):
            link = unescape(link)
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                if tag in FETCHES and parts.scheme != "data":
                    yield f"{page.relative_to(root)} fetches {link}"
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                yield f"{page.relative_to(root)}: {link} is not there"
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target):
                yield f"{page.relative_to(root)}: {link} has no such anchor"


@cache
def anchors(page: Path) -> frozenset[str]:
    """What can be linked to on a page."""
    return frozenset(map(unescape, re.findall(r'\sid="([^"]+)"', page.read_text("utf-8"))))


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1]).resolve()))
    sys.exit("\n".join(found) if found else 0)
