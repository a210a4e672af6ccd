"""Plans: what they say before anything runs, and that memory stays under what they predict."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.engine import plan as planning
from jaxrf.engine.plan import human, parse_memory
from jaxrf.errors import InputError, PlanError
from jaxrf.planning import memory
from tests.running import drawn_run


def run_of(model, shape, images=1, **request):
    return drawn_run(model, jaxrf.noise(images), shape, **request)


def compiled_bytes(run) -> int:
    pull = run.prepared.pullback
    images = np.zeros((run.prepared.images_per_call, *pull.program.image.shape), np.float32)
    keys = jax.random.split(jax.random.key(0), run.prepared.images_per_call)
    some = [a[: pull.batching.batches_per_call] for a in pull.batches]
    m = pull.compiled.lower(run.leaves(0), images, *some, keys).compile().memory_analysis()
    return m.argument_size_in_bytes + m.temp_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes


def of_the_program(plan) -> int:
    return plan.memory - plan.held.fixed


@pytest.mark.parametrize(
    "model, shape, request_",
    [
        (zoo.conv_stack(depth=4, width=16), (40, 36, 3), {"units": "all"}),
        pytest.param(zoo.resnet18(width=8), (64, 64, 3), {"units": "all", "layer": "layer2"}, marks=pytest.mark.slow),
        pytest.param(zoo.resnet18(width=8), (64, 64, 3), {}, marks=pytest.mark.slow),
        pytest.param(zoo.unet(depth=2, width=4), (32, 40, 1), {"units": jaxrf.grid(5, 5)}, marks=pytest.mark.slow),
        pytest.param(zoo.mobilenet_v2(width=0.25), (64, 64, 3), {"layer": None}, marks=pytest.mark.slow),
        (zoo.conv_stack(depth=4, width=128), (9, 11, 3), {}),
    ],
    ids=["stack", "layer2", "resnet", "unet", "mobilenet", "weights"],
)
def test_compiled_memory_stays_under_the_prediction(model, shape, request_):
    """What XLA reserves is less than the plan said of the program."""
    run = run_of(model, shape, **request_)
    assert 0 < compiled_bytes(run) < of_the_program(run.prepared.plan)


def test_images_in_turns_take_less_memory_and_less_is_predicted(monkeypatch):
    """Eight images two by two: what XLA reserves is less than the plan said, and half of what it is for all at once."""
    taken = []
    for fewest in (8, 2):
        monkeypatch.setitem(planning.ABREAST, "cpu", (fewest, 0))
        run = run_of(zoo.conv_stack(depth=4, width=8), (96, 100, 3), images=8, crop=False)
        assert (
            run.prepared.plan.batching.images_at_once,
            run.prepared.plan.batching.sequential_passes,
            run.prepared.images_per_call,
        ) == (
            fewest,
            8 // fewest,
            8,
        )
        taken.append((compiled_bytes(run), of_the_program(run.prepared.plan)))
        assert taken[-1][0] < taken[-1][1]
    (at_once, predicted_at_once), (in_turns, predicted_in_turns) = taken
    assert in_turns < at_once / 2 and predicted_in_turns < predicted_at_once / 2


def test_images_of_a_large_network_go_in_turns():
    """Two images of a MobileNet-V2 fill the memory that suits a CPU; the others of a call come after them."""
    plan = jaxrf.plan(zoo.mobilenet_v2(), inputs=jaxrf.noise(24), input_shape=(224, 224, 3))
    assert (plan.batching.images_at_once, plan.batching.sequential_passes) == (2, 4)
    assert "2 images side by side in 4 passes" in str(plan)


@pytest.mark.parametrize("count, at_once", [(16, 16), (20, 24), (1, 8)])
def test_images_are_shared_out_among_devices(count, at_once):
    """Eight devices take 16 images two by two, and not 16 each."""
    some = [SimpleNamespace(platform="cpu", id=number) for number in range(8)]  # a plan counts them, and runs nothing
    request = {"inputs": jaxrf.noise(count), "input_shape": (12, 10, 3), "devices": some}
    assert jaxrf.plan(zoo.conv_stack(depth=2, width=4), **request).batching.images_at_once == at_once


@pytest.mark.slow
def test_a_small_limit_lets_images_take_turns_first():
    """Fewer images side by side, then fewer units; a call takes all eight images as long as that fits."""
    model, given = zoo.conv_stack(depth=2, width=4), {"inputs": jaxrf.noise(8), "input_shape": (20, 18, 3)}
    free = jaxrf.plan(model, **given)
    assert (free.batching.images_at_once, free.batching.sequential_passes) == (8, 1)
    tight = jaxrf.plan(model, memory=int(free.held.fixed + 0.4 * of_the_program(free)), **given)
    assert (tight.batching.images_at_once, tight.batching.sequential_passes) == (2, 4)
    a, b = (jaxrf.erf(model, memory=plan.memory, **given).mean for plan in (free, tight))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * a.max())


def test_a_small_limit_makes_smaller_batches_and_the_same_maps():
    """The memory limit changes the batches, not the numbers."""
    model, given = zoo.conv_stack(depth=2, width=4), {"inputs": jaxrf.noise(2), "input_shape": (13, 11, 3)}
    free = jaxrf.plan(model, units="all", **given)
    tight = int(free.held.fixed + 0.6 * of_the_program(free))
    plan = jaxrf.plan(model, units="all", memory=tight, **given)
    assert plan.memory <= tight
    assert (plan.batching.units_per_batch, plan.batching.batches_per_call) < (
        free.batching.units_per_batch,
        free.batching.batches_per_call,
    )
    a, b = (jaxrf.erf(model, units="all", memory=m, **given).mean for m in (None, tight))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * a.max())


def test_the_prediction_is_what_is_held_against_the_limit():
    """A limit of just what was predicted leaves a plan as it is, and a byte less makes it smaller."""
    model, given = zoo.conv_stack(depth=2, width=5), {"inputs": jaxrf.noise(3), "input_shape": (9, 11, 3)}
    free = jaxrf.plan(model, units="all", **given)
    assert str(jaxrf.plan(model, units="all", memory=free.memory, **given)).splitlines()[1] == str(free).splitlines()[1]
    less = jaxrf.plan(model, units="all", memory=free.memory - 1, **given)
    assert less.memory < free.memory
    assert (less.batching.units_per_batch, less.batching.images_at_once, less.batching.batches_per_call) != (
        free.batching.units_per_batch, free.batching.images_at_once, free.batching.batches_per_call,
    )  # fmt: skip


def test_half_of_what_is_free_is_taken(monkeypatch):
    """Without a limit a plan may use half of the memory that the system says is free."""
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    assert planning.free_memory() == pytest.approx(1024 * available, rel=0.2)
    monkeypatch.setattr(planning, "free_memory", lambda: 10**9)
    given = {"inputs": jaxrf.noise(1), "input_shape": (9, 11, 3)}
    assert jaxrf.plan(zoo.conv_stack(depth=1), **given).limit == 5 * 10**8


def test_too_small_a_limit_says_what_would_fit():
    """The amount in the error is enough."""
    model, given = zoo.conv_stack(depth=3, width=8), {"inputs": jaxrf.noise(1), "input_shape": (24, 20, 3)}
    with pytest.raises(
        PlanError,
        match=r"Plan needs .* for one unit and one image, of them .* for the compiler and .* for sums and result; 10 kB are allowed",
    ) as error:
        jaxrf.plan(model, memory="10kB", **given)
    enough = str(error.value).split('memory="')[1].split('"')[0]
    assert jaxrf.plan(model, memory=parse_memory(enough) * 1.01, **given).batching.units_per_batch == 1


def test_the_comparison_with_the_model_must_fit_too():
    """A crop of a large image fits, the model's own pass on all of it does not: said before anything runs."""
    model, given = zoo.conv_stack(depth=2, width=32), {"inputs": jaxrf.noise(1), "input_shape": (400, 410, 3)}
    plan = jaxrf.plan(model, **given)
    tight = plan.held.fixed + plan.certificate
    assert plan.memory < tight
    with pytest.raises(PlanError, match="comparison with the model itself, on a whole image, needs .* certify=False"):
        jaxrf.erf(model, memory=tight, **given)
    assert jaxrf.erf(model, memory=tight, certify=False, **given).count == 1


def test_sums_and_results_count():
    """In double precision: of all units more than of their mean, of several layers one beside the other."""
    model = zoo.conv_stack(depth=2, width=2)
    given = {"inputs": jaxrf.noise(3), "input_shape": (40, 41, 3), "units": "all"}
    wide = 8 * 40 * 41 * 5 * 5
    many, mean = jaxrf.plan(model, **given), jaxrf.plan(model, pool_units=True, **given)
    assert many.held.sums > (3 + 2) * wide > 20 * mean.held.sums
    assert jaxrf.plan(model, platform="gpu", **given).held.fixed == 0  # on a host that is not the device
    enough = many.memory + 2**22
    assert jaxrf.plan(model, memory=enough, **given).memory <= enough
    with pytest.raises(PlanError, match="for sums and result"):
        jaxrf.plan(model, memory=enough, layer=["output", "conv_0"], **given)


def test_fewer_sums_by_image_are_kept_where_memory_is_small(monkeypatch):
    """Eight blocks of images in place of nine where the share of the limit is small, and the same mean."""
    monkeypatch.setattr(memory, "SHARE", 10**6)
    model, given = zoo.conv_stack(depth=2, width=2), {"inputs": jaxrf.noise(9), "input_shape": (8, 9, 3)}
    tight, free = (jaxrf.erf(model, memory=limit, certify=False, **given) for limit in ("1GB", None))
    assert [len(one.groups["images"].blocks) for one in (tight, free)] == [8, 9]
    np.testing.assert_array_equal(tight.mean, free.mean)


def test_a_plan_prints_its_choices():
    """Batches, cone, memory, windows and reasons are on the page."""
    text = str(
        jaxrf.plan(zoo.conv_stack(depth=3, width=8), inputs=jaxrf.noise(1), input_shape=(64, 64, 3), units="all")
    )
    for words in ("4096 units", "units, ", "GFLOP", "predicted", "conv_0: 1x5x5x8 of 1x64x64x8", "suit a cpu"):
        assert words in text


def test_cone_flops_of_a_stack_are_those_of_its_windows():
    """conv_1 and conv_2 of a 3-layer stack are pulled back on 3x3 and 1x1 outputs."""
    plan = jaxrf.plan(zoo.conv_stack(depth=3, width=8), inputs=jaxrf.noise(1), input_shape=(64, 64, 3), units="all")
    per_position = [2 * 9 * 3 + 1, 2 * 9 * 8 + 1, 2 * 9 * 8 + 1]
    assert plan.cost.flops == sum(n * 8 * p for n, p in zip((25, 9, 1), per_position, strict=True))


@pytest.mark.parametrize("text, size", [("15GB", 15 * 10**9), ("1.5 mb", 1_500_000), (2048, 2048), ("7", 7)])
def test_amounts_of_memory(text, size):
    """Numbers and words are understood."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("wrong", ["lots", "-3GB", 0])
def test_what_is_no_amount(wrong):
    """Anything else is refused."""
    with pytest.raises(InputError, match="is not an amount"):
        parse_memory(wrong)


def test_sizes_in_words():
    """Three digits and a unit."""
    assert [human(n) for n in (12, 1500, 2.5e9, 3e13)] == ["12 B", "1.5 kB", "2.5 GB", "30 TB"]


def test_an_unknown_option_of_plan_is_refused():
    """The nearest option is named."""
    with pytest.raises(jaxrf.errors.UnknownNameError, match="Did you mean 'units'"):
        jaxrf.plan(zoo.conv_stack(depth=1), inputs=jaxrf.noise(1), input_shape=(8, 8, 3), unit="all")


@pytest.mark.parametrize("count, at_once", [(1, 1), (3, 3), (100, 50)])
def test_no_more_images_go_side_by_side_than_there_are(count, at_once):
    """A batch is never filled up with repeated images that nobody asked for; many images are split evenly."""
    plan = jaxrf.plan(zoo.conv_stack(depth=2, width=4), inputs=jaxrf.noise(count), input_shape=(12, 10, 3))
    assert plan.batching.images_at_once == at_once


@pytest.mark.parametrize("model", [zoo.conv_stack(depth=3, width=8), zoo.unet(depth=2, width=4)], ids=["stack", "unet"])
def test_the_plan_says_what_the_certificate_takes(model):
    """The model's own forward pass on the whole image, though a crop of it is mapped; within half of what XLA holds."""
    plan = jaxrf.plan(model, input_shape=(128, 128, 3), inputs=jaxrf.noise(1))
    image = np.zeros((1, 128, 128, 3), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    m = jax.jit(model.apply).lower(variables, image).compile().memory_analysis()
    held = image.nbytes + m.temp_size_in_bytes + m.output_size_in_bytes
    assert plan.crop.box and 2 / 3 < plan.certificate / held < 1.5
    if isinstance(model, type(zoo.conv_stack())):  # the image, and what one activation reads and writes
        assert plan.certificate == image.nbytes + 2 * 128 * 128 * 8 * 4
    assert f"certificate {human(plan.certificate)} once" in str(plan)
