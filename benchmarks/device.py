"""How fast and how right are exact maps on the device that is here? One command, some minutes on one GPU.

First the maps of each job, small, are compared with float64 on the host; then the jobs are timed against plain JAX and,
where it is installed, PyTorch on the same device, as shares of a product of matrices and of a copy measured beside them.

    python benchmarks/device.py --out device.json
    python benchmarks/device.py --small                 # tiny sizes: whether the script works
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

if find_spec("jaxtyping") is None:  # annotations alone need it, and an image with JAX and Flax may lack it
    sys.modules["jaxtyping"] = module = ModuleType("jaxtyping")
    module.__getattr__ = lambda name: type(name, (), {"__class_getitem__": classmethod(lambda cls, item: Any)})

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, is_there, parser, relative_errors, whole_maps
from _jobs import Job, jobs
from _programs import CHUNK, Asked

import jaxrf

ORDER = "E,B,G,F,A,C"
REPEATS = 20
LARGEST = 5e-2
"""Relative error of a single float32 map against float64, in which no ReLU flips by rounding; most are below 1e-5."""


def compared(job: Job) -> dict[str, float]:
    """Relative errors of maps on the device, in single precision, against plain JAX in float64 on the host.

    Raises:
        AssertionError: they differ by more than rounding explains.
    """
    images = np.random.default_rng(0).normal(size=(job.images, *job.shape)).astype(np.float32)
    units = job.units if isinstance(job.units, str) else "center"
    field = jaxrf.prepare(job.model, None, images, layer=job.layer, units=units, channels="sum")
    variables = jax.device_get(field.init(jax.random.key(0)))
    found = np.asarray(field(variables, images).array())
    found = whole_maps(found, np.asarray(field.origin), job.shape[:2])
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide, exact = jax.tree.map(lambda a: np.asarray(a, np.float64), (variables, images))
        wanted = np.asarray(_dense(job.peer)(wide, exact, np.asarray(field.units)))
    errors = relative_errors(found, wanted)
    assert errors.max() < LARGEST, f"{job.name}: maps differ by {errors.max():.1e} from those in float64"
    return {"median": float(np.median(errors)), "largest": float(errors.max())}


def _dense(model: Any) -> Callable[..., jax.Array]:
    """Maps (image, unit, y, x) of sums over channels, by one pull-back a unit."""

    def of_unit(variables: Any, image: jax.Array, unit: jax.Array) -> jax.Array:
        value = lambda x: model.apply(variables, x[None])[0, unit[0], unit[1]].sum()  # noqa: E731
        return jnp.square(jax.grad(value)(image)).sum(-1)

    return jax.jit(jax.vmap(jax.vmap(of_unit, (None, None, 0)), (None, 0, None)))


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of the first call, and the median of the others."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    return taken[0], statistics.median(taken[1:])


def rates(small: bool) -> dict[str, float]:
    """What the device reaches: TFLOP/s of float32 products by precision, and GB/s of a copy."""
    n, found = 256 if small else 8192, {}
    square, long = jnp.ones((n, n)), jnp.ones(n * n)
    for precision in ("default", "highest"):
        product = jax.jit(lambda a, precision=precision: jnp.dot(a, a, precision=precision))
        found[precision] = 2 * n**3 / timed(lambda product=product: product(square), 5)[1] / 1e12
    copy = jax.jit(lambda a: a + 1)
    found["GB/s"] = 2 * long.nbytes / timed(lambda: copy(long), 5)[1] / 1e9
    return found


def drawn(shapes: Any) -> Any:
    """Arrays on the device: keys as keys, whole numbers zero, all others small normal numbers."""

    def one(path: Any, shape: Any) -> jax.Array:
        if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(0), shape.shape) if shape.shape else jax.random.key(0)
        if jnp.issubdtype(shape.dtype, jnp.integer):
            return jnp.zeros(shape.shape, shape.dtype)
        return 0.1 * jax.random.normal(jax.random.key(len(path)), shape.shape, shape.dtype)

    return jax.tree_util.tree_map_with_path(one, shapes)


def measure(job: Job, precision: str, reached: dict[str, float], repeats: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one job."""
    asked = Asked(job, jax.default_backend(), precision)
    each: dict[str, float] = {}
    details: dict[str, Any] = {"rates": reached}
    with jax.default_matmul_precision(precision):
        programs = {"jaxrf": asked.ours(), **{f"naive JAX {n}": p for n, p in enumerate(asked.naive())}}
        for name, (function, shapes, maps) in programs.items():
            program, given = jax.jit(function), drawn(shapes)
            first, median = timed(lambda program=program, given=given: program(*given), repeats)
            each[name] = median / maps
            details[name] = {"first s": first, "s": median, "maps": maps}
    details |= {name: {"s a map": seconds} for name, seconds in torch_times(job, repeats).items()}
    naive = min(seconds for name, seconds in each.items() if name != "jaxrf")
    torch = min((found["s a map"] for name, found in details.items() if name.startswith("PyTorch")), default=None)
    flops = asked.field.plan.cost.flops
    stats = jax.devices()[0].memory_stats() or {}
    columns = {
        "jaxrf ms": 1e3 * each["jaxrf"],
        "naive JAX ms": 1e3 * naive,
        "PyTorch ms": None if torch is None else 1e3 * torch,
        "× naive JAX": naive / each["jaxrf"],
        "× PyTorch": None if torch is None else torch / each["jaxrf"],
        "of GEMM": flops / each["jaxrf"] / 1e12 / reached["highest" if precision == "highest" else "default"],
        "peak GB": stats["peak_bytes_in_use"] / 1e9 if "peak_bytes_in_use" in stats else None,
        "first run s": details["jaxrf"]["first s"],
    }
    return columns, details


def torch_times(job: Job, repeats: int) -> dict[str, float]:
    """Seconds a map in PyTorch: eager, and `vmap` of a VJP, with TF32 off and on; nothing where it is not installed."""
    if not is_there("torch") or job.seeds is not None:
        return {}
    import torch

    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = job.torch().to(place).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    image = torch.randn(1, job.shape[2], *job.shape[:2], device=place).to(memory_format=torch.channels_last)
    with torch.no_grad():
        shape = model(image).shape
    some = 1 if job.units == "center" else CHUNK
    ct = torch.zeros((some, *shape), device=place)
    ct[:, 0, :, shape[2] // 2, shape[3] // 2] = 1.0

    def synchronized(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            call()
            if place.type == "cuda":
                torch.cuda.synchronize()

        return run

    def eager() -> None:
        x = image.detach().requires_grad_()
        y = model(x)
        for one in ct[:8]:
            torch.autograd.grad(y, x, one, retain_graph=True)

    def vmapped() -> None:
        pull = torch.func.vjp(model, image)[1]
        torch.func.vmap(pull)(ct)

    found = {}
    for tf32 in (False, True) if place.type == "cuda" else (False,):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        words = ", TF32" if tf32 else ""
        found["PyTorch eager" + words] = timed(synchronized(eager), repeats)[1] / min(some, 8)
        found["PyTorch vmap" + words] = timed(synchronized(vmapped), repeats)[1] / some
    return found


def main() -> None:
    """Compare and time as many jobs as there is time for."""
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", default=ORDER, help="letters of jobs, the most important first")
    arguments.add_argument("--seconds", type=float, default=420.0, help="no job is begun after so many (default: 420)")
    arguments.add_argument("--precision", default="highest,default", help="of products")
    options = arguments.parse_args()
    start, repeats = time.perf_counter(), 3 if options.small else REPEATS
    known = {letter: [j for j in jobs(options.small) if j.name[0] == letter][:1] for letter in ORDER.split(",")}
    asked = [letter.strip() for letter in options.jobs.split(",")]
    if wrong := [letter for letter in asked if letter not in known]:
        arguments.error(f"--jobs {wrong[0]!r} is not known; there are {ORDER}.")
    device, report = jax.devices()[0].device_kind, Report("device", options)
    reached = rates(options.small)
    print(f"{device}: {reached}")
    for letter in asked:
        tiny = next(job for job in jobs(True) if job.name[0] == letter)
        errors = compared(tiny)
        for job in known[letter]:
            for precision in options.precision.split(","):
                if time.perf_counter() - start > options.seconds:
                    print(f"{job.name}, {precision}: left out, {options.seconds:.0f} seconds are over")
                    continue
                columns, details = measure(job, precision, reached, repeats)
                details["relative errors"] = {"float64 on the host": list(errors.values())}
                report.add("On a device", f"{job.name}, {device}, {precision}", columns, details)


if __name__ == "__main__":
    main()
