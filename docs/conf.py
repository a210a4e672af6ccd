"""Sphinx: MyST pages, executed code cells, docstrings of the public names."""

from __future__ import annotations

from importlib.metadata import version

project = "jaxrf"
author = "The jaxrf authors"
copyright = "The jaxrf authors"
release = version("jaxrf")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"jaxrf {release}"

# Docstrings put code into single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# A page whose code fails is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
