"""The convolution of XLA itself."""

from __future__ import annotations

from jax import lax

from jaxrf.lowering.lowering import Lowering, lowerings


class Plain(Lowering):
    """`lax.conv_general_dilated`, which on a CPU is a GEMM over patches, and slow where features are few."""

    def applies(self, problem):
        return True

    def run(self, x, prepared, problem):
        spec = problem.spec
        return lax.conv_general_dilated(
            x,
            prepared,
            window_strides=spec.strides,
            padding=spec.padding,
            lhs_dilation=spec.lhs_dilation,
            rhs_dilation=spec.rhs_dilation,
            dimension_numbers=spec.numbers,
            feature_group_count=spec.groups,
            precision=spec.precision,
        )


lowerings.register("plain")(Plain())
