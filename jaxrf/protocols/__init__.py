"""Published ways to make effective receptive fields, one file each, found by name in `protocols`.

Comes in: a name, later a result. Goes out: the options that the publication used, and how it read its maps.
Invariant: what is known, unknown or incomparable about a publication is said as that.
One more protocol is a file here that registers it.
"""

from jaxrf.protocols import luo2016, mambair2024, openerf, replknet2022, slak2023, vmamba2024
from jaxrf.protocols.protocol import Protocol, Reading, displays, protocols

__all__ = [
    "Protocol", "Reading", "displays", "luo2016", "mambair2024", "openerf", "protocols", "replknet2022", "slak2023",
    "vmamba2024",
]  # fmt: skip
