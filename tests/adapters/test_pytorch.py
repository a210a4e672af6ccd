"""PyTorch modules as they are: against torch.autograd; each test is left out where torch is not installed."""

from __future__ import annotations

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'jaxrf[torch]')")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """Strided, grouped, dilated, a branch, a mean; its second output is a dict."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.wide = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, double=False):
        y = self.stem(x)
        y = y + self.drop(self.wide(y))
        return {"map": 2 * y if double else y}


class Heads(nn.MultiheadAttention):
    """Attention of the rows of the first channel to each other."""

    def __init__(self):
        super().__init__(9, 3, batch_first=True)

    def forward(self, x):
        return super().forward(*[x[:, 0]] * 3)[0]


def layers_of(function):
    return type("Layer", (nn.Module,), {"forward": lambda self, x: function(x)})()


OPERATIONS = {
    "conv transpose": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2),
    "same padding": nn.Conv2d(4, 2, (4, 3), padding="same"),
    "max pool": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "avg pool": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "adaptive": nn.AdaptiveAvgPool2d((3, 4)),
    "adaptive max": nn.AdaptiveMaxPool2d((3, 4)),
    "layer norm": nn.LayerNorm([7, 9]),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4, affine=True),
    "train": nn.BatchNorm2d(4).train(),
    "lp pool": nn.LPPool2d(2, 2),
    "local response": nn.LocalResponseNorm(3),
    "shuffle": nn.PixelShuffle(2),
    "unshuffle": layers_of(lambda x: F.pixel_unshuffle(x[..., :6, :8], 2)),
    "channel shuffle": nn.ChannelShuffle(2),
    "unfold": layers_of(lambda x: F.fold(F.unfold(x, 3, padding=1), (7, 9), 3, padding=1)),
    "attention": layers_of(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
    "masked attention": layers_of(lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(7, 7).tril(1) > 0)),
    "multihead": Heads(),
    "encoder": nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(63, 3, 8, 0.0, batch_first=True)),
    "roll": layers_of(lambda x: torch.roll(x, (1, -2), (2, 3)).flip(3)),
    "written in place": layers_of(lambda x: _written(x)),
    "einsum": layers_of(lambda x: torch.einsum("bchw,bchv->bwv", x, x.abs())),
    "norm": layers_of(lambda x: F.normalize(x, dim=1) * x.std(1, keepdim=True)),
    "extremes": layers_of(lambda x: x.amax(1) - x.max(2).values.mean(-1, keepdim=True)[:, :1] + x.sort(-1)[0].sum(1)),
    "where": layers_of(lambda x: torch.where(x > 0, x.clamp(max=1), x.cumsum(-1)).masked_fill(x > 2, 0.5)),
    "fourier": layers_of(lambda x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * (1 + 2j), (7, 9), norm="ortho")),
    "index": layers_of(lambda x: x[:, :, torch.tensor([6, 0, 2])][..., [1, 1]].gather(3, torch.zeros(1, 4, 3, 1).long())),
    "no grad": layers_of(lambda x: x * torch.sigmoid(x.detach()) + _without(x)),
    "chunk": layers_of(lambda x: torch.cat(x.chunk(3, 1) + x.split([1, 3], 1), 1).unfold(3, 4, 2).mean(-1)),
    **{
        f"{mode} {extra}": layers_of(functools.partial(F.interpolate, mode=mode, **extra))
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic")
        for extra in ({"scale_factor": 1.5}, {"size": (4, 13)})
    },
    "smooth": layers_of(functools.partial(F.interpolate, size=(4, 5), mode="bicubic", antialias=True)),
    "corners": layers_of(functools.partial(F.interpolate, size=(4, 13), mode="bilinear", align_corners=True)),
    **{f"{mode} pad": layers_of(functools.partial(F.pad, pad=(2, 1, 1, 3), mode=mode)) for mode in
       ("reflect", "replicate", "circular", "constant")},
    **{type(one).__name__: one for one in (
        nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.ELU(0.7), nn.CELU(0.7), nn.SELU(), nn.Softplus(2, 3), nn.PReLU(4),
        nn.Hardswish(), nn.Hardsigmoid(), nn.Hardshrink(), nn.Softsign(), nn.Tanhshrink(), nn.LogSigmoid(), nn.GLU(1),
        nn.ReLU6(), nn.Threshold(0.1, 2), nn.Softmin(1), nn.LogSoftmax(1),
    )},
}  # fmt: skip


def _written(x):
    y = torch.zeros_like(x)
    y[:, 1:, 2:5:2] = 2 * x[:, :-1, 1:4:2]
    y[:, 0].add_(x[:, 3])
    y[..., 0] = 1
    return y


def _without(x):
    with torch.no_grad():
        return x * 3


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients_are_those_of_pytorch(name):
    """Each operation in double precision, at an input without ties; some of PyTorch's constants are in single."""
    with jax.enable_x64(True):
        module = OPERATIONS[name].double()
        x = np.random.default_rng(0).normal(size=(1, 4, 7, 9))
        subject = adapt(module, x.shape[1:], dtype=np.float64)
        variables = {} if subject.variables is None else subject.variables
        leaf = torch.tensor(x, requires_grad=True)
        wanted = module(leaf)
        weights = np.random.default_rng(1).normal(size=wanted.shape)
        (slope,) = torch.autograd.grad((wanted * torch.tensor(weights)).sum(), leaf)
        value, back = jax.vjp(lambda x: subject.fn(variables, x), jnp.asarray(x))
        np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(back(jnp.asarray(weights))[0], slope.numpy(), rtol=1e-6, atol=1e-7)


def net(**options) -> Net:
    torch.manual_seed(0)
    return Net(**options).eval()


def test_layers_have_the_names_of_modules_and_channels_stand_first():
    """Kernel 3, stride 2, then kernel 3 dilated by 2: size 3 + 2·2·2."""
    table = jaxrf.trf(net(), (3, 15, 17))
    assert [row.name for row in table][:4] == ["stem.0", "stem.1", "stem.2", "stem"]
    row = table["output/map"]
    assert (row.size, row.stride, row.padding, row.shape) == ((11, 11), (2, 2), (5, 5), (4, 8, 9))
    assert table["wide"].kind == "Conv2d" and table["wide"].parameters == 4 * 2 * 9 + 4


def test_a_map_is_the_squared_gradient():
    """Of one channel of the center unit, with the module's own weights."""
    model, x = net(), np.random.default_rng(0).normal(size=(1, 3, 15, 17)).astype(np.float32)
    result = jaxrf.erf(model, None, x, layer="wide", channels=2)
    kept = []
    hook = model.wide.register_forward_hook(lambda _module, _args, y: kept.append(y))
    leaf = torch.tensor(x, requires_grad=True)
    model(leaf)
    hook.remove()
    unit, (top, left) = result.units[0], result.origin[0]
    (slope,) = torch.autograd.grad(kept[0][0, 2, unit[0], unit[1]], leaf)
    ours = result.mean[0]
    wanted = slope[0].square().sum(0).numpy()[top : top + ours.shape[0], left : left + ours.shape[1]]
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-7)


def test_the_users_module_stays_as_it_is():
    """No hook, no mode, no type of it is changed."""
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    jaxrf.trf(model, (3, 15, 17))
    assert not any(inner._forward_hooks for inner in model.modules()) and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_module_is_called_as_is_said():
    """Keyword arguments go to forward, and method= names another one."""
    model, x = net(), jnp.ones((1, 3, 15, 17))
    plain, double = (adapt(model, x.shape[1:], apply_kwargs={"double": flag}) for flag in (False, True))
    assert np.allclose(2 * plain.fn(plain.variables, x)["map"], double.fn(double.variables, x)["map"], rtol=1e-5)
    stem = adapt(model, x.shape[1:], method=lambda model, x: model.stem(x))
    assert stem.outputs.shape == (1, 4, 8, 9)
    with pytest.raises(InputError, match="Net has no method 'encode'"):
        adapt(model, x.shape[1:], method="encode")


def test_train_mode_is_followed_and_said():
    """Batch statistics join positions; eval() ends that."""
    model = net()
    model.train()
    row = jaxrf.trf(model, (3, 15, 17))["stem"]
    assert row.global_axes and "model.eval()" in " ".join([*row.notes, *row.global_cause.values()])


def test_weights_given_as_a_state_dict_take_the_place_of_the_modules_own():
    """Doubled weights give four times the map; whole numbers in it are passed over."""
    model, x = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).eval(), np.ones((1, 3, 9, 9), np.float32)
    state = model.state_dict()
    plain = jaxrf.erf(model, state, x, channels="sum")
    double = jaxrf.erf(model, {**state, "0.weight": 2 * state["0.weight"]}, x, channels="sum")
    np.testing.assert_allclose(double.mean, 4 * plain.mean, rtol=1e-5)
    with pytest.raises(InputError, match="'0.weight' is missing"):
        jaxrf.erf(model, {"0.bias": state["0.bias"]}, x)


def test_random_weights_come_from_the_parts_of_a_module_or_from_its_maker():
    """Seeds differ, and the same seed gives the same weights, as PyTorch draws them."""
    for model in (net(), Net, functools.partial(Net, width=4)):
        subject = adapt(model, (3, 15, 17))
        first, again, other = (subject.initialize(jax.random.key(seed))["stem.0.weight"] for seed in (1, 1, 2))
        assert (first == again).all() and (first != other).any()
        assert float(abs(first).max()) <= 27**-0.5  # uniform within one over the root of the fan-in
    assert jaxrf.erf(net(), None, jaxrf.noise(1), input_shape=(3, 15, 17), output="map", seeds=2).count == 2


def test_a_parameter_that_nobody_can_draw_is_named():
    """A scale of a block's own has no reset_parameters; its maker can draw it."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(3, 1, 1))

        def forward(self, x):
            return x * self.gamma

    with pytest.raises(InputError, match=r"'0.gamma' cannot be drawn at random: Scaled has no reset_parameters"):
        jaxrf.erf(nn.Sequential(Scaled()), None, jaxrf.noise(1), input_shape=(3, 5, 7), seeds=2)


def test_initializers_of_jax_see_kernels_as_they_expect_them():
    """The fan-in of a transposed kernel (in, out, y, x) is in·y·x, and that of a plain one too."""
    for layer in (nn.Conv2d(3, 5, (2, 4)), nn.ConvTranspose2d(3, 5, (2, 4)), nn.Linear(3, 5)):
        shape = (6, 3) if isinstance(layer, nn.Linear) else (3, 6, 7)
        axes = {"spatial_axes": (1,)} if isinstance(layer, nn.Linear) else {}
        subject = jaxrf.init.with_init(adapt(layer, shape, **axes), {"weight": jaxrf.init.uniform()})
        drawn = subject.initialize(jax.random.key(0))["weight"]
        fan = 3 if isinstance(layer, nn.Linear) else 24
        assert drawn.shape == tuple(layer.weight.shape) and np.allclose(drawn, 1 / fan)


def test_a_graph_is_exported_once_while_the_module_stays_as_it_is(monkeypatch):
    """A second table exports nothing; another mode does."""
    from jaxrf.adapters import pytorch

    shapes, export = [], pytorch.export
    monkeypatch.setattr(
        pytorch, "export", lambda module, call, shape, names: shapes.append(shape) or export(module, call, shape, names)
    )
    model = net()
    jaxrf.trf(model, (3, 15, 17))
    first = len(shapes)
    jaxrf.trf(model, (3, 15, 17))
    assert first == len(shapes) > 0
    model.wide.padding = (4, 4)
    model.wide.dilation = (4, 4)
    assert jaxrf.trf(model, (3, 15, 17))["wide"].size == (19, 19) and len(shapes) > first


def test_a_branch_on_values_is_refused_with_the_shape_of_the_input():
    """What a trace on shapes cannot follow."""
    model = layers_of(lambda x: x if float(x.sum()) > 0 else -x)
    with pytest.raises(InputError, match=r"Layer fails on inputs of shape \(1, 3, 5, 7\)"):
        jaxrf.trf(model, (3, 5, 7))


def test_a_derivative_of_the_users_own_is_said():
    """torch.export follows the forward pass of an autograd.Function alone."""

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, slope):
            return slope

    with pytest.warns(UserWarning, match="calls Rounded, which has a derivative of its own"):
        jaxrf.trf(layers_of(lambda x: Rounded.apply(x)), (3, 5, 7))


@pytest.mark.parametrize(
    ("model", "said"),
    [(nn.Conv2d, r"Conv2d needs the arguments \['in_channels'"), (lambda: 3, "takes no argument and returns a int")],
)
def test_what_makes_no_module_is_refused(model, said):
    """A class with arguments, a function that makes something else."""
    with pytest.raises(InputError, match=said):
        jaxrf.trf(model, (3, 5, 7))


def test_an_output_without_gradients_sees_nothing():
    """What leaves `torch.no_grad` at the end of a model is cut too."""
    row = jaxrf.trf(layers_of(lambda x: (_without(x), x)), (3, 5, 7))["output/0"]
    assert row.size == (0, 0)


def test_half_precision():
    """A module in bfloat16 on images in bfloat16."""
    table = jaxrf.trf(net().bfloat16(), (3, 15, 17), dtype=jnp.bfloat16)
    assert table["wide"].size == (11, 11)


@pytest.mark.slow
def test_resnet_50_of_torchvision_has_the_published_field():
    """427, 32, 213."""
    models = pytest.importorskip("torchvision.models")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = jaxrf.trf(models.resnet50().eval(), (3, 224, 224))["layer4"]
    assert (row.size, row.stride, row.padding) == ((427, 427), (32, 32), (213, 213)) and row.aligned and row.exact


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_networks_of_timm(name):
    """Two of the names of `timm_names.py`, which has all."""
    pytest.importorskip("timm")
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("timm_names", Path(__file__).with_name("timm_names.py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with jax.enable_x64(True):
        assert script.right(script.compared(name))


def test_flops_of_a_module_are_of_those_inside_it_too():
    """Seven features from five on each of 8 x 9 positions, with a sum for a shift, in a module inside of another one."""
    inner = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(5, 7, 1, bias=False))
    table = jaxrf.trf(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1, bias=False), inner), (3, 8, 9))
    own = {name: table[name].flops for name in ("0", "1", "1.1", "output")}
    assert own == {"0": 72 * (30 + 5), "1": 72 * (70 + 7), "1.1": 72 * (70 + 7), "output": 72 * (100 + 12)}
