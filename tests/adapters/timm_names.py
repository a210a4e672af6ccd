"""Networks of timm with random weights: how many have the tables and maps that PyTorch's own gradients have.

    python tests/adapters/timm_names.py              # all names that docs/timm.csv has not: an hour and more on two cores
    python tests/adapters/timm_names.py resnet18 vit_tiny_patch16_224
    python tests/adapters/timm_names.py --page       # docs/timm.md from docs/timm.csv

Each network runs in double precision, in which rounding flips no ReLU. Of a layer at half of its depth and of its last
feature map, the center unit's map of one channel is compared with `torch.autograd.grad`, and the box of the table with the
positions whose gradient is not zero.
"""

from __future__ import annotations

import csv
import functools
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SMALL = 64
"""Positions along an axis of the images of convolutional networks; the others take images of the size they are made for."""
LARGER = {
    "inception_v3": 96,
    "inception_v4": 96,
    "halonet26t": 256,
    "efficientformer_l1": 224,
    "crossvit_tiny_240": 240,
}
CONVOLUTIONS = """
resnet18 resnet26d resnetv2_50 resnext50_32x4d wide_resnet50_2 seresnet18 ecaresnet26t skresnet18 res2net50_26w_4s
resnest14d regnetx_002 regnety_002 densenet121 vgg11_bn mobilenetv2_050 mobilenetv3_small_050 mobilenetv4_conv_small_035
efficientnet_b0 efficientnetv2_rw_t tinynet_e mnasnet_050 spnasnet_100 fbnetc_100 ghostnet_050 mixnet_s hardcorenas_a
convnext_atto convnextv2_atto inception_v3 inception_v4 xception41 dla34 dpn48b hrnet_w18_small cspresnet50 cspdarknet53
darknet53 repvgg_a0 vovnet39a selecsls42 rexnet_100 nf_regnet_b0 nfnet_f0 lcnet_035 hgnetv2_b0 fasternet_t0
mobileone_s0 repghostnet_050 edgenext_xx_small starnet_s1 focalnet_tiny_srf poolformer_s12 inception_next_atto
""".split()
ATTENTION = """
vit_tiny_patch16_224 deit_tiny_patch16_224 swin_tiny_patch4_window7_224 pvt_v2_b0 twins_svt_small mixer_s32_224
gmlp_s16_224 resmlp_12_224 convit_tiny visformer_tiny levit_128s mobilevit_xxs efficientformer_l1 xcit_nano_12_p16_224
crossvit_tiny_240 cait_xxs24_224 coat_tiny maxvit_rmlp_pico_rw_256 tiny_vit_5m_224 mvitv2_tiny gcvit_xxtiny halonet26t
botnet26t_256 lambda_resnet26t
""".split()
NAMES = CONVOLUTIONS + ATTENTION
TABLE = Path(__file__).parents[2] / "docs" / "timm.csv"
PAGE = TABLE.with_suffix(".md")
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_multi_thread_eigen=false"
TRACED = {
    "outcome": "traces",
    "reason": "not compared yet: all operations have a rule, and all shapes are PyTorch's",
}
"""Of a network whose graph was evaluated on shapes, and no more."""
COLUMNS = (
    "name", "outcome", "size", "layers", "middle", "middle_error", "middle_box", "last", "last_error", "last_box", "seconds",
    "reason",
)  # fmt: skip
INTRODUCTION = """\
<!-- Written by tests/adapters/timm_names.py from timm.csv. Change those. -->

# Networks of timm

Of {all} networks of timm that were compared, with the random weights that timm draws and small images, {good} have the maps \
and tables that PyTorch's own gradients have. Compared is the center unit of a layer at half of the depth and of the last feature map: the map \
of one channel with `torch.autograd.grad`, in double precision, in which rounding flips no ReLU; the error is the largest \
difference over the largest value. A box is the *hull* of the positions whose gradient is not zero, or *holds* them, where a \
position that paths reach has the gradient zero at this input, as behind a ReLU. An error above 1e-5 or a box that leaves out a \
gradient would be a difference.

`python tests/adapters/timm_names.py` makes this table again."""


def compared(name: str) -> dict[str, Any]:
    """One network: how far its maps are from PyTorch's, relative to the largest value, and whether boxes are right."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import timm
    import torch

    import jaxrf

    torch.manual_seed(0)
    model, size = _made(timm, name)
    image = np.random.default_rng(0).normal(size=(1, 3, size, size))
    table = jaxrf.trf(model, image.shape[1:], dtype=np.float64)
    modules = dict(model.named_modules())
    fit = [
        row.name for row in table if (row.name in modules or row.name == "output") and _channel_axis(row) is not None
    ]
    layers = list(dict.fromkeys([fit[len(fit) // 2], fit[-1]]))
    x, values = _values(model, image, layers, modules)
    places = {layer: _place(table[layer], table[layer].center_unit, slice(None)) for layer in layers}
    vectors = [values[layer][places[layer]].abs() for layer in layers]
    least = min(len(one) for one in vectors)
    channel = int(torch.stack([one[:least] for one in vectors]).amin(0).argmax())  # no ReLU has switched it off
    maps, origins = _maps(model, image, layers, channel)
    found: dict[str, Any] = {"name": name, "size": size, "rows": len(table.rows), "layers": {}}
    for layer in layers:
        (gradient,) = torch.autograd.grad(values[layer][places[layer]][channel], x, retain_graph=True)
        wanted = gradient[0].square().sum(0).numpy()
        ours = _laid(maps[layer], origins[layer], size)
        found["layers"][layer] = _judged(table[layer], table[layer].center_unit, wanted, ours)
    return found


def _made(timm: Any, name: str) -> tuple[Any, int]:
    """A network without its head, and the size of its images: a small one where it takes that."""
    small, bare, headless = LARGER.get(name, SMALL), {"num_classes": 0}, {"num_classes": 0, "global_pool": ""}
    sized = {} if name in CONVOLUTIONS else {"img_size": small}
    for options in ({**headless, **sized}, {**bare, **sized}, headless, bare):
        try:
            model = timm.create_model(name, **options).eval().double()
        except Exception:  # whatever a network raises that takes no other size, or always pools
            continue
        fixed = name not in CONVOLUTIONS and "img_size" not in options
        return model, model.pretrained_cfg["input_size"][-1] if fixed else small
    raise ValueError(f"{name} cannot be made without a head")


def _judged(row: Any, unit: tuple[int, ...], wanted: np.ndarray, ours: np.ndarray) -> dict[str, Any]:
    """Error of the map; whether the box holds all that is not zero, and is its hull."""
    hull = [[int(at.min()), int(at.max()) + 1] for at in np.nonzero(wanted)]
    box = [list(interval) for interval in row.box(unit, clip=True)]
    inside = all(lo <= first and last <= hi for (lo, hi), (first, last) in zip(box, hull, strict=True))
    error = float(np.abs(ours - wanted).max() / wanted.max())
    return {"error": error, "inside": inside, "hull": hull == box, "exact": row.exact, "box": box}


def _channel_axis(row: Any) -> int | None:
    """Where the channels of a layer stand in a batch; None where it is not a feature map or a sequence of tokens."""
    first, last = row.shape[1:] == row.unit_shape, row.shape[:-1] == row.unit_shape
    if first == last or not 1 <= len(row.unit_shape) <= 2 or min(row.unit_shape) < 2:
        return None
    return 1 if first else len(row.shape)


def _values(model: Any, image: np.ndarray, layers: list[str], modules: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The image as a leaf, and what layers give for it at their first call."""
    import torch

    kept: dict[str, Any] = {}
    hooks = [
        modules[name].register_forward_hook(functools.partial(_keep, kept, name)) for name in layers if name != "output"
    ]
    x = torch.tensor(image, requires_grad=True)
    kept["output"] = model(x)
    for hook in hooks:
        hook.remove()
    return x, kept


def _keep(kept: dict[str, Any], name: str, module: Any, args: Any, value: Any) -> None:
    kept.setdefault(name, value + 0)


def _place(row: Any, unit: tuple[int, ...], channel: Any) -> tuple[Any, ...]:
    """Where a unit's channel stands in the layer's value for a batch of one."""
    return (0, channel, *unit) if _channel_axis(row) == 1 else (0, *unit, channel)


def _maps(model: Any, image: np.ndarray, layers: list[str], channel: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Maps of the center units of all layers by one program, and their places on the image."""
    import jax

    import jaxrf
    from jaxrf.adapters import variables_of

    field = jaxrf.prepare(model, None, image, layer=layers, channels=channel, score="square", crop=False)
    found = jax.jit(field)(variables_of(model, None), image, jax.random.key(0))
    return {name: one.array()[0, 0] for name, one in found.items()}, {name: at[0] for name, at in field.origin.items()}


def _laid(values: Any, origin: Any, size: int) -> np.ndarray:
    """The map in the frame of the image."""
    full, values, origin = np.zeros((size, size)), np.asarray(values), [int(at) for at in origin]
    where = tuple(slice(max(o, 0), min(o + n, size)) for o, n in zip(origin, values.shape))
    full[where] = values[tuple(slice(w.start - o, w.stop - o) for w, o in zip(where, origin))]
    return full


def right(found: dict[str, Any]) -> bool:
    """Whether all layers of a network agree: maps to 1e-5, boxes that hold all that is not zero."""
    return "error" not in found and all(one["error"] < 1e-5 and one["inside"] for one in found["layers"].values())


def row_of(name: str) -> dict[str, Any]:
    """One network as a row of the table: names of the two layers, errors, boxes, or why there are none."""
    begun = time.process_time()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    try:
        found = compared(name)
        for place, (layer, one) in zip(("middle", "last"), found["layers"].items()):
            box = "hull" if one["hull"] else "holds" if one["inside"] else "wrong"
            row |= {place: layer, f"{place}_error": f"{one['error']:.1e}", f"{place}_box": box}
        row |= {"size": found["size"], "layers": found["rows"], "outcome": "agrees" if right(found) else "differs"}
    except Exception as error:  # whatever keeps a network from being compared is what is asked for
        row |= {"outcome": "fails", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return row | {"name": name, "seconds": round(time.process_time() - begun)}


def kept() -> dict[str, dict[str, str]]:
    """The rows of docs/timm.csv by name."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def keep(rows: dict[str, dict[str, Any]]) -> None:
    """Write docs/timm.csv, in the order of the names."""
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in NAMES if name in rows)


def page(rows: dict[str, dict[str, str]]) -> str:
    """docs/timm.md."""
    good = [row for row in rows.values() if row["outcome"] == "agrees"]
    compared = sum(row["outcome"] != TRACED["outcome"] for row in rows.values())
    lines = [
        INTRODUCTION.format(good=len(good), all=compared),
        "",
        "| network | size | layers | middle layer | error | box | last layer | error | box |",
        "|---|---:|---:|---|---:|---|---|---:|---|",
    ]
    for row in good:
        cells = [f"`{row['name']}`", row["size"], row["layers"]]
        for place in ("middle", "last"):
            cells += (
                [f"`{row[place]}`", row[f"{place}_error"], row[f"{place}_box"]] if row[place] else ["the same", "", ""]
            )
        lines.append(f"| {' | '.join(cells)} |")
    others = [row for row in rows.values() if row["outcome"] != "agrees"]
    if others:
        lines += ["", "## The others", "", "| network | what happens |", "|---|---|"]
        lines += [
            f"| `{row['name']}` | {row['reason'].replace('|', chr(92) + '|') or 'a map or box differs'} |"
            for row in others
        ]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> int:
    """Print and keep one line for each network, and write the page; how many are right."""
    rows = kept()
    if names == ["--page"]:
        names = []
    elif not names:
        names = [name for name in NAMES if rows.get(name, TRACED)["outcome"] == TRACED["outcome"]]
    # Each program runs once, so its compilation is what takes time.
    os.environ.setdefault("XLA_FLAGS", FLAGS)
    for name in names:
        rows[name] = row_of(name)
        keep(rows)
        print(*(str(rows[name][column]) for column in COLUMNS), sep="  ", flush=True)
        _forget()
    PAGE.write_text(page(kept()))
    good = sum(row["outcome"] == "agrees" for row in rows.values())
    print(f"{good} of {len(rows)} agree.")
    return 0 if good == len(rows) else 1


def _forget() -> None:
    """Give back what compiled programs hold."""
    import gc

    import jax

    import jaxrf

    jaxrf.clear_cache()
    jax.clear_caches()
    gc.collect()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
