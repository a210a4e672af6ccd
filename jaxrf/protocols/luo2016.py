"""Luo et al. (2016): the paper that gave effective receptive fields their name."""

from __future__ import annotations

from jaxrf.protocols.protocol import Protocol, Reading, protocols

LUO2016 = protocols.register("luo2016")(
    Protocol(
        name="luo2016",
        source=(
            "Luo, Li, Urtasun, Zemel (2016), Understanding the Effective Receptive Field in Deep Convolutional "
            "Neural Networks, NIPS; there is no code."
        ),
        input_size=None,
        inputs="random inputs for untrained networks; images of the task for trained ones",
        count=20,
        units="center",
        channels=0,
        score="abs",
        average="weighted",
        display="as_is",
        readings=(Reading("ERF size", "size_luo2016"), Reading("ERF size / theoretical size", "ratio_luo2016")),
        known=(
            "The cotangent is 1 at the center unit of the output plane and 0 elsewhere.",
            "Networks are stacks of 3x3 convolutions; weights are all equal, or drawn with mean zero.",
            "The size is the root of the number of positions above 1 - 95.45 % of the value at the center.",
            "Results are averages over 20 runs with other seeds.",
        ),
        unknown=(
            "Whether the gradient, its magnitude or its square is averaged is not said: here it is the magnitude.",
            "Which channel of the unit is meant, where there are several, is not said: here it is the first.",
            "The law and the scale of the random weights are not said.",
            "Whether maps are averaged and then measured, or sizes averaged, is not said: here the map is averaged.",
        ),
        incomparable=(
            "The square map of random weights is narrower than the root-mean-square or magnitude map by the root of 2, "
            "so sizes depend on a choice that the paper does not state.",
            "4.55 % of the peak is reached at 2.49 standard deviations of a Gaussian map and not at two; "
            "the size is 4.41 standard deviations in two dimensions.",
            "The size counts noise: with few samples, positions of a speckled map fall below the threshold at random.",
            "The paper takes the share of the value at the center, ours is that of the peak; "
            "where the peak lies beside the center they differ.",
        ),
    )
)
