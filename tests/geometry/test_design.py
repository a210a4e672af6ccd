"""What a table says of a design, against networks that are changed as it says."""

from __future__ import annotations

import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError
from jaxrf.geometry.table import Table


class Chain(nn.Module):
    """Convolutions of given kernels, strides and dilations."""

    kernels: tuple[int, ...] = (3, 5, 3, 3)
    strides: tuple[int, ...] = (1, 2, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 2, 1)

    @nn.compact
    def __call__(self, x):
        for i, (k, s, d) in enumerate(zip(self.kernels, self.strides, self.dilations)):
            x = nn.relu(nn.Conv(2, (k,), s, kernel_dilation=d, padding="VALID", name=f"conv_{i}")(x))
        return x


@pytest.mark.slow
def test_changes_reach_what_they_say():
    """Each change, made in the network, gives the size that was promised, and one step less does not."""
    table = jaxrf.trf(Chain(), (400, 1))
    wanted = 40
    found = table.changes(wanted)
    assert table[-1].size == (19,)
    assert {(change.layer, change.what) for change in found} == {
        *((f"conv_{i}", "dilation") for i in range(4)), *((f"conv_{i}", "stride") for i in range(3)),
    }  # fmt: skip
    assert [change.size for change in found] == sorted(change.size for change in found)
    for change in found:
        for factor, enough in ((change.factor, True), (change.factor - 1, False)):
            name = change.what + "s"
            values = list(getattr(Chain(), name))
            values[int(change.layer[-1])] *= factor
            (size,) = jaxrf.trf(Chain(**{name: tuple(values)}), (400, 1))[-1].size
            assert (size >= wanted) is enough
            assert size == change.size or not enough
    assert str(found[0]).endswith(f"size {found[0].size}")


def test_layers_that_add_nothing_at_this_size():
    """The border layer is the first that sees more than the input; from the smallest size on there is none."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(5):
                x = nn.relu(nn.Conv(2, (3,), name=f"conv_{i}")(x))
            return x

    found = jaxrf.trf(Net(), (6, 1)).design()
    assert found.border == "conv_2" and found.idle == ("conv_2", "conv_3", "conv_4")
    assert found.smallest == found.largest == (11,)
    assert "3 layers bring no new context. Sensible input sizes: 11 to 11" in str(found)
    enough = jaxrf.trf(Net(), (11, 1)).design()
    assert enough.border is None and not enough.idle and "All layers bring new context" in str(enough)


def test_what_has_no_advice():
    with pytest.raises(InputError, match="has size 19 on axis 0, which is 19 or more already"):
        jaxrf.trf(Chain(), (400, 1)).changes(19)
    with pytest.raises(InputError, match="sees axis 0 whole or has no stride"):
        jaxrf.trf(lambda x: x.mean(1), (9, 1)).changes(19)
    with pytest.raises(InputError, match="without rows says nothing"):
        Table([]).design()
