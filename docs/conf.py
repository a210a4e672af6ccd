"""Sphinx: MyST pages, executed code cells, docstrings of the public names."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes

project = "jaxrf"
author = "The jaxrf authors"
copyright = "The jaxrf authors"
release = importlib.metadata.version("jaxrf")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"jaxrf {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

# Docstrings put code into single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # in the page itself: nothing is fetched when it is read

# A page whose code fails is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # what pages write is not left among them
nb_execution_timeout = 300


def escape_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let `*` and `|` in docstrings be what they are: our docstrings are text with code in backticks, not markup."""
    in_example = False
    for i, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts[::2]]
            lines[i] = "".join(parts)


def write_formula(translator: Any, node: Any) -> None:
    """A formula as MathML, which browsers draw by themselves; one of its own stands in a block."""
    block = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = convert(node.astext(), display=block)
    translator.body.append(f'<div class="formula">{formula}</div>' if block == "block" else formula)
    raise nodes.SkipNode


def add_anchors(app: Any, doctree: Any) -> None:
    """Let pages of source lead back to what is described: they take it to be in `jaxrf`, or where it was written."""
    for signature in doctree.findall(addnodes.desc_signature):
        name = signature.get("fullname")
        for home in ("jaxrf", written_in(signature.get("module"), name)) if signature["ids"] else ():
            if f"{home}.{name}" not in signature["ids"]:
                signature["ids"].append(f"{home}.{name}")


def written_in(module: str, name: str) -> str:
    """The module in which a described object was written."""
    found: Any = importlib.import_module(module or "jaxrf")
    for part in name.split("."):
        found = getattr(found, part, None)
    return getattr(found, "__module__", None) or module


def setup(app: Any) -> None:
    """Called by Sphinx; the number places the hook before napoleon, which makes markup of its own."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)
    app.connect("doctree-read", add_anchors)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
