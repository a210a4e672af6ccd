"""Facts as a small table that notebooks show."""

from __future__ import annotations

import html
from collections.abc import Iterable

from jaxrf.errors import visible


def facts(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """A table of two columns under a title; all texts are escaped.

    Example:
        >>> facts("<net>", [("units", 4)])
        '<table><caption>&lt;net&gt;</caption><tbody><tr><th>units</th><td>4</td></tr></tbody></table>'
    """
    body = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table><caption>{_text(title)}</caption><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return html.escape(visible(str(value)))
