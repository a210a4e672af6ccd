"""The reproductions run, once and small; their loaders and the weights that they convert are read right."""

from __future__ import annotations

import gzip
import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrf import zoo
from jaxrf.errors import InputError

FOLDER = Path(__file__).parent.parent / "docs" / "reproductions"
SCRIPTS = sorted(file.name for file in FOLDER.glob("[!_]*.py"))
FIGURES = {
    "architectures.py": {"equal_depth"},
    "by_layer.py": {"by_layer"},
    "center_lowered.py": {"center_lowered"},
    "field_loss.py": {"field_loss"},
    "growth.py": {"growth"},
    "in_training.py": {"in_training"},
    "luo_maps.py": {"luo_maps", "luo_activations"},
    "padding.py": {"padding"},
    "score.py": {"score"},
    "trained.py": {"trained"},
}


def load(name: str):
    """A module of that folder, under a name that collides with nothing."""
    spec = importlib.util.spec_from_file_location(f"reproductions{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


data = load("_data")
scores = load("_scores")
layers = load("_layers")
torchvision = load("_torchvision")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(FOLDER / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_script_is_under_test():
    """A new script names its figures here; only the opt-in one, which needs weights, makes none in tests."""
    assert set(SCRIPTS) == {*FIGURES, "mobilenet.py"}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(FIGURES))
def test_a_reproduction_runs_small(script, tmp_path):
    """Small sizes go through the whole script: tables without NaN, and a figure that is not a large file."""
    done = run(script, "--small", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "| " in done.stdout and "nan" not in done.stdout
    assert {file.stem for file in tmp_path.glob("*.png")} == FIGURES[script]
    assert all(0 < file.stat().st_size < 150_000 for file in tmp_path.glob("*.png"))


@pytest.mark.parametrize("name", sorted(name for names in FIGURES.values() for name in names))
def test_the_page_shows_every_figure(name):
    """Figures of the page are there, small, and named in it."""
    file = FOLDER.parent / "images" / "reproductions" / f"{name}.png"
    assert file.stat().st_size < 150_000
    assert f"../images/reproductions/{name}.png" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize(
    "script, arguments, message",
    [
        ("mobilenet.py", ("--weights", "/nowhere.pth"), "There are no weights at /nowhere.pth"),
        ("trained.py", ("--data", "fashion-mnist", "--path", "/nowhere"), "apt install dataset-fashion-mnist"),
        ("trained.py", ("--data", "camvid"), "camvid is not part of this project. Say with --path"),
        ("growth.py", (), "Say with --out where they may lie"),
    ],
)
def test_a_script_says_what_it_lacks(script, arguments, message, tmp_path):
    """Missing weights, missing data, and small figures over the real ones end with a sentence and no traceback."""
    where = ("--out", str(tmp_path)) if arguments else ()
    done = run(script, "--small", *where, *arguments)
    assert done.returncode != 0
    assert message in done.stderr and "Traceback" not in done.stderr


def test_correlations_of_the_page_are_those_of_its_table():
    """What the page says of scores without training is computed anew from the rows that were measured."""
    rows = scores.read(scores.TABLE)
    page = (FOLDER / "README.md").read_text()
    assert len({row["network"] for row in rows}) == len(rows) and f"{len(rows)} random networks" in page
    for cells in scores.lines(scores.correlations(rows)):
        assert f"| {' | '.join(cells)} |" in page
    assert all(0 < row["accuracy"] < 1 and row["sigma"] <= row["theoretical"] for row in rows)


def test_fields_by_layer_of_the_page_are_those_of_its_table():
    """Every line of both measures stands in the page; ratios lie within their intervals."""
    rows = layers.read(layers.TABLE)
    page = (FOLDER / "README.md").read_text()
    for measure in layers.MEASURES:
        for cells in layers.lines([row for row in rows if row["measure"] == measure])[1]:
            assert f"| {' | '.join(cells)} |" in page
    assert rows and all(row["low"] <= row["ratio"] <= row["high"] for row in rows)


def test_a_rank_correlation_beyond_others():
    """What ranks share with those of a third number is taken out of both; without it the number is Spearman's."""
    draw = np.random.default_rng(0)
    third, x, y = draw.normal(size=(3, 400))
    assert scores.rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert scores.rank_correlation(x + 3 * third, y + 3 * third) > 0.8
    assert abs(scores.rank_correlation(x + 3 * third, y + 3 * third, third[None])) < 0.15


class TestMadeTask:
    """The task whose labels are decided at a known distance."""

    def test_reach_zero_is_the_sign_of_the_position(self):
        """Nothing else than the position decides."""
        task = data.made(0, side=7, train=3, test=2)
        np.testing.assert_array_equal(task.labels, task.images[..., 0] > 0)

    def test_only_the_ring_decides(self):
        """The label is the sign of the sum over positions whose distance rounds to the reach; images wrap around."""
        task = data.made(2, side=9, train=1, test=1)
        image, y, x = task.images[0, ..., 0], 4, 0
        ring = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if round(np.hypot(i, j)) == 2]
        assert (0, 1) not in ring and (2, 1) in ring
        assert task.labels[0, y, x] == (sum(image[(y + i) % 9, (x + j) % 9] for i, j in ring) > 0)


class TestCifar10:
    """CIFAR-10's pickles."""

    @staticmethod
    def write(folder: Path, name: str, count: int, first: int) -> np.ndarray:
        pixels = (np.arange(count * 3072, dtype=np.int64) * 7 + first).astype(np.uint8).reshape(count, 3072)
        batch = {b"data": pixels, b"labels": [(first + i) % 10 for i in range(count)]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        return pixels

    def test_reads_batches_in_order(self, tmp_path):
        """Rows hold the red plane first; the test batch is kept apart; pixels go to -1..1."""
        first = self.write(tmp_path, "data_batch_1", 3, 4)
        self.write(tmp_path, "data_batch_2", 2, 8)
        self.write(tmp_path, "test_batch", 2, 1)
        task = data.cifar10(tmp_path)
        assert task.images.shape == (5, 32, 32, 3) and task.test_images.shape == (2, 32, 32, 3)
        assert task.labels.tolist() == [4, 5, 6, 8, 9] and task.test_labels.tolist() == [1, 2]
        np.testing.assert_allclose(task.images[1, 2, 5, 1], first[1, 1024 + 2 * 32 + 5] / 127.5 - 1, rtol=1e-6)

    def test_needs_its_files(self, tmp_path):
        """A folder without batches, and one without the test batch, are named."""
        with pytest.raises(InputError, match="no data_batch_1 in"):
            data.cifar10(tmp_path)
        self.write(tmp_path, "data_batch_1", 1, 0)
        with pytest.raises(InputError, match="test_batch is not a batch of CIFAR-10: .*No such file"):
            data.cifar10(tmp_path)

    def test_runs_no_code_of_a_pickle(self, tmp_path):
        """A pickle that asks for anything but arrays is refused."""
        (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(InputError, match="is not a batch of CIFAR-10: it asks for os.system"):
            data.cifar10(tmp_path)


class TestCamVid:
    """CamVid's folders of images and label images."""

    @staticmethod
    def write(root: Path, part: str, labels: np.ndarray, mode: str = "L") -> None:
        for folder in (part, f"{part}annot"):
            (root / folder).mkdir(exist_ok=True)
        height, width = labels.shape
        Image.fromarray(np.full((height, width, 3), 255, np.uint8)).save(root / part / "a.png")
        Image.fromarray(labels.astype(np.uint8)).convert(mode).save(root / f"{part}annot" / "a.png")

    def test_scales_images_and_keeps_class_numbers(self, tmp_path):
        """Labels are scaled to the nearest, never mixed; void positions get -1."""
        labels = np.zeros((10, 14), int)
        labels[:, 7:], labels[:4, :4] = 9, 11
        self.write(tmp_path, "train", labels)
        self.write(tmp_path, "test", labels)
        task = data.camvid(tmp_path, size=(5, 7))
        assert task.images.shape == (1, 5, 7, 3) and task.labels.shape == (1, 5, 7)
        assert set(np.unique(task.labels)) == {-1, 0, 9}
        assert (task.labels[0, :2, :2] == -1).all() and (task.images == 1).all()

    def test_says_what_is_wrong(self, tmp_path):
        """No images, no label image, a class too many, and a label image in colors."""
        with pytest.raises(InputError, match="no PNG files in .*train"):
            data.camvid(tmp_path)
        self.write(tmp_path, "test", np.zeros((5, 7)))
        self.write(tmp_path, "train", np.full((5, 7), 12))
        with pytest.raises(InputError, match="holds the class 12; 12 were expected"):
            data.camvid(tmp_path)
        self.write(tmp_path, "train", np.zeros((5, 7)), mode="RGB")
        with pytest.raises(InputError, match="image of mode RGB; a label image has one number"):
            data.camvid(tmp_path)
        (tmp_path / "trainannot" / "a.png").unlink()
        with pytest.raises(InputError, match=r"a.png has no label image in trainannot; 1 have none"):
            data.camvid(tmp_path)


class TestFashionMnist:
    """The files of Debian's package."""

    @staticmethod
    def write(folder: Path, part: str, count: int) -> None:
        images = np.arange(count * 5 * 7, dtype=np.uint8).reshape(count, 5, 7)
        for kind, array in {"images-idx3": images, "labels-idx1": np.arange(count, dtype=np.uint8)}.items():
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))

    def test_reads_both_parts(self, tmp_path):
        """Axes come from the head of the file; the last images are those of the test files."""
        self.write(tmp_path, "train", 4)
        self.write(tmp_path, "t10k", 2)
        task = data.fashion_mnist(tmp_path)
        assert task.images.shape == (4, 5, 7, 1) and task.test_labels.tolist() == [0, 1]
        np.testing.assert_allclose(task.images[1, 2, 3, 0], (35 + 2 * 7 + 3) / 127.5 - 1, rtol=1e-6)

    def test_says_what_is_wrong(self, tmp_path):
        """Files that are not there, and one that is cut short."""
        with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
            data.fashion_mnist(tmp_path)
        self.write(tmp_path, "train", 4)
        self.write(tmp_path, "t10k", 2)
        file = tmp_path / "train-images-idx3-ubyte.gz"
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(InputError, match="is not a file in the format of MNIST"):
            data.fashion_mnist(tmp_path)


class TestDigits:
    """The digits of scikit-learn."""

    def test_reads_pixels_and_keeps_tests_apart(self, monkeypatch):
        """Pixels from 0 to 16 go to -1..1; the last 297 images are for tests."""
        pixels, labels = np.tile(np.arange(64.0) % 17, (300, 1)), np.arange(300) % 10
        made = SimpleNamespace(load_digits=lambda return_X_y: (pixels, labels))
        monkeypatch.setitem(sys.modules, "sklearn.datasets", made)
        monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace(datasets=made))
        task = data.digits()
        assert task.images.shape == (3, 8, 8, 1) and task.test_labels[:3].tolist() == [3, 4, 5]
        assert task.images.min() == -1 and task.images.max() == 1 and task.images[0, 1, 2, 0] == 10 / 8 - 1

    def test_says_what_is_missing(self, monkeypatch):
        """The package that has them."""
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(InputError, match="Run: pip install scikit-learn"):
            data.digits()


class TestTorchvision:
    """MobileNet-V2's weights as torchvision names and lays them out."""

    @staticmethod
    def names() -> list[str]:
        """Names of the convolutions in the file, each followed by that of its normalization."""
        found = ["features.0.0"]
        for i in range(1, 18):
            inner = ["0.0", "1"] if i == 1 else ["0.0", "1.0", "2"]
            found += [f"features.{i}.conv.{name}" for name in inner]
        return [*found, "features.18.0"]

    def state(self, variables) -> dict[str, np.ndarray]:
        """A state such as torch reads, from variables of the zoo."""
        params, stats, state = variables["params"], variables["batch_stats"], {}
        paths = [
            ("stem",),
            *((f"block_{i}", p) for i in range(17) for p in ("expand", "depthwise", "project")[i == 0 :]),
        ]
        for name, path in zip(self.names(), [*paths, ("conv_last",)], strict=True):
            own, moments = params, stats
            for part in path:
                own, moments = own[part], moments[part]
            head, _, last = name.rpartition(".")
            norm = f"{head}.{int(last) + 1}"
            state[f"{name}.weight"] = np.transpose(own["conv"]["kernel"], (3, 2, 0, 1))
            state |= {f"{norm}.weight": own["norm"]["scale"], f"{norm}.bias": own["norm"]["bias"]}
            state |= {f"{norm}.running_{k}": moments["norm"][k] for k in ("mean", "var")}
        state["classifier.1.weight"] = np.transpose(params["head"]["dense"]["kernel"])
        return state | {"classifier.1.bias": params["head"]["dense"]["bias"]}

    def test_gives_back_the_variables(self):
        """Every array comes to its layer, in Flax's order of axes; a file of another network is refused."""
        model = zoo.mobilenet_v2(num_classes=1000)
        abstract = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
        draw = np.random.default_rng(0)
        variables = jax.tree.map(lambda leaf: draw.random(leaf.shape, np.float32), abstract)
        state = self.state(variables)
        found = torchvision.converted(state, abstract)
        jax.tree.map(np.testing.assert_array_equal, found, variables)
        with pytest.raises(InputError, match="not those of a MobileNet-V2 of width 1"):
            torchvision.converted(state | {"features.0.0.weight": np.zeros((8, 3, 3, 3))}, abstract)
        del state["features.18.0.weight"]
        with pytest.raises(InputError, match="hold 51 convolutions; a MobileNet-V2 of torchvision has 52"):
            torchvision.converted(state, abstract)
