"""Chips that are not here, as benchmarks are asked for them."""

from __future__ import annotations

import argparse

from jaxrf.base.chips import CHIPS, device, without_hardware
from jaxrf.errors import JaxrfError


def with_chips(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser with `--chips`."""
    made.add_argument("--chips", default="v5e", help=f"of {', '.join(CHIPS)} (default: v5e)")
    return made


def chosen_chips(made: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """The chips asked for, each of which has its compiler here; looks for no hardware."""
    chips = [name.strip() for name in options.chips.split(",")]
    without_hardware()
    try:
        for chip in chips:
            device(chip)
    except JaxrfError as error:
        made.error(str(error))
    return chips
