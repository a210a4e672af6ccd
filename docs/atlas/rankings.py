"""Which rankings of published figures of effective fields hold before training, under error bars.

`claims.csv` holds the pairs: which network's field was shown to be the larger one, and where.
"""

from __future__ import annotations

import math

from _rows import FOLDER, MARK, interval, larger, read, table, usual

from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow

CLAIMS = FOLDER / "claims.csv"
WIDE = 1.96
"""Standard errors of a difference that is told from none."""


def verdict(smaller: AtlasRow, other: AtlasRow) -> str:
    """Whether the second row has the larger sigma, by the standard error of the difference."""
    assert smaller.sigma is not None and other.sigma is not None  # as in every row that is known
    errors = [row.sigma * (row.sigma_error or 0.0) for row in (smaller, other) if row.sigma]
    apart = (other.sigma - smaller.sigma) / (math.hypot(*errors) or math.inf)
    return "holds" if apart > WIDE else "reversed" if apart < -WIDE else "cannot be told"


def page(atlas: Atlas) -> str:
    """The page of rankings."""
    lines = []
    for claim in read(CLAIMS):
        pair = [_row(atlas, claim[end], claim[f"{end}_layer"]) for end in ("smaller", "larger")]
        names = [f"`{claim[end]}`" + (f" `{claim[f'{end}_layer']}`" if claim[f"{end}_layer"] else "") for end in ("smaller", "larger")]  # fmt: skip
        both = [_told(row) if row else "not in the atlas" for row in pair]
        said = verdict(pair[0], pair[1]) if pair[0] and pair[1] else ""
        lines.append([f"{names[0]} < {names[1]}", claim["published"], claim["source"], *both, said])
    header = ("published", "of", "source", "sigma of the first", "of the second", "before training")
    return MARK + PAGE.format(table=table(header, lines, "|---|---|---|---|---|---|"))


def _row(atlas: Atlas, network: str, layer: str) -> AtlasRow | None:
    """The known row of a network on its usual input: of a layer, or of the last stage where none is named."""
    own = [row for row in usual(atlas) if row.network == network]
    return next((row for row in own if (row.layer == layer if layer else row.stage == row.stages)), None)


def _told(row: AtlasRow) -> str:
    return f"{interval(row, 'sigma')}{'*' * larger(row)}"


PAGE = """\
# Published rankings

Figures of effective fields are often of one network each, without error bars, and after training. Here stand the rankings
that they were shown for, beside sigma of the same layers before training, on noise, with intervals of 95 %. A ranking
"holds" where the second sigma is larger by more than 1.96 standard errors of the difference, is "reversed" where it is
smaller by as much, and "cannot be told" between. That one is reversed here does not make it wrong after training: it
says that the architecture alone does not give it.

"*" marks theoretical fields that are larger than the input, which cuts the effective one as well: sigma of a flat map on
224 positions is 64.7.

{table}"""
