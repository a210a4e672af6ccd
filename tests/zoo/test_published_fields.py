"""The networks of the zoo have the published receptive fields and costs, by an oracle that does not use the engine."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from jaxrf import zoo

DATA = Path(__file__).parents[1] / "data"
_spec = importlib.util.spec_from_file_location("primal_walk", Path(__file__).with_name("primal_walk.py"))
