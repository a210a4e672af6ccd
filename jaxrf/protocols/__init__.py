"""Published ways to make effective receptive fields, one file each, found by name in `protocols`."""

from jaxrf.protocols import luo2016, openerf, replknet2022
from jaxrf.protocols.protocol import Protocol, Reading, displays, protocols

__all__ = ["Protocol", "Reading", "displays", "luo2016", "openerf", "protocols", "replknet2022"]
