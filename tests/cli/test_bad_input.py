"""Wrong use and unusable files: exit status 2 and one sentence that names what came; never a traceback."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from samples import TINY_TRAINING

SHORT = ("--budget", 3, "--angles", 20, "--count", 2, "--device", "cpu")


pytestmark = pytest.mark.usefixtures("few_steps")


def refused(outcome, *names: str) -> None:
    """The contract of every refusal."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    (sentence,) = outcome.err.strip().splitlines()
    assert sentence.startswith("tomopilot: ")
    assert [name for name in names if name not in sentence] == [], sentence


@pytest.fixture
def simulate(call, tiny, pictures, tmp_path):
    """`simulate` of a picture with the tiny prior into the folder `run`; later words win."""

    def simulate(*words, image=f"{pictures}::0", prior=tiny):
        return call("simulate", image, "--prior", prior, "--out", tmp_path / "run", *SHORT, *words)

    return simulate


# Images


def _spoilt(value: float) -> np.ndarray:
    image = np.zeros((32, 32), np.float32)
    image[3, 4] = value
    return image


IMAGES = {
    "nan": (_spoilt(np.nan), "1 NaN or infinite"),
    "infinite": (_spoilt(np.inf), "1 NaN or infinite"),
    "oblong": (np.zeros((32, 28), np.float32), "32 x 28"),
    "bytes-as-floats": (np.linspace(0, 255, 32 * 32).reshape(32, 32), "255"),
    "narrow": (np.linspace(0, 0.01, 32 * 32).reshape(32, 32), "from 0 to 0.01"),
    "12-bits-as-floats": (np.linspace(0, 4095 / 65535, 32 * 32).reshape(32, 32), "from 0 to 0.0624857"),
    "Hounsfield": (np.linspace(-1000, 300, 32 * 32).reshape(32, 32), "from -1000 to 300"),
    "12-bits": (np.linspace(0, 4095, 32 * 32).reshape(32, 32).astype(np.uint16), "4095 of 65535"),
    "negative": (np.full((32, 32), -3.0), "-3"),
    "odd": (np.zeros((33, 33), np.float32), "33 x 33"),
    "not-a-multiple-of-4": (np.zeros((34, 34), np.float32), "34 x 34"),
    "line": (np.zeros(32), "(32,)"),
    "empty": (np.zeros((0, 0)), "(0, 0)"),
    "complex": (np.zeros((32, 32), complex), "complex, but projections are of real images"),
    "objects": (np.array([[None]]), "objects.npy"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image(name, simulate, tmp_path):
    pixels, words = IMAGES[name]
    np.save(tmp_path / f"{name}.npy", pixels)
    refused(simulate(image=tmp_path / f"{name}.npy"), words)
    assert not (tmp_path / "run").exists()


def test_missing_image(simulate, tmp_path):
    refused(simulate(image=tmp_path / "none.npy"), "none.npy", "does not exist")


@pytest.mark.parametrize("ending", ["npy", "npz", "png", "tif", "h5", "dcm", "txt"])
def test_foreign_image(ending, simulate, tmp_path):
    path = tmp_path / f"foreign.{ending}"
    path.write_text("this is no image\n" * 20)
    refused(simulate(image=path), f"foreign.{ending}")


def test_image_number(simulate, pictures):
    refused(simulate(image=f"{pictures}::6"), "image 6", "there are 6")
    refused(simulate(image=f"{pictures}::x"), "::x")
    refused(simulate(image=f"{pictures}::0-999999999"), "999999999")
    refused(simulate(image="phantom:chip::0-999999"), "1000000 images were asked for")
    refused(simulate(image="phantom:chip@2048::0-999"), "declares", "bytes")
    refused(simulate(image="phantom:nothing"), "phantom:nothing", "chip")


@pytest.mark.slow
def test_many_images_are_scanned_only_where_they_were_chosen(simulate, tmp_path):
    many = tmp_path / "many.npy"
    np.save(many, np.full((17, 32, 32), 0.5, np.float32))
    refused(simulate(image=many), "holds 17 images", f"{many}::0-15", f"{many}::all")
    outcome = simulate("--posterior", "fbp", "--policy", "uniform", "--budget", 1, image=f"{many}::all")
    assert outcome.status == 0 and "17 images by 1 method: 17 scans" in outcome.err


# Priors


@pytest.fixture
def spoilt(tiny, tmp_path) -> Path:
    """A copy of the prior, to be spoilt."""
    return shutil.copytree(tiny, tmp_path / "spoilt")


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


def seal(folder: Path) -> None:
    """Lets the card describe whatever the weights file now is."""
    change_card(folder, sha256=hashlib.sha256((folder / "prior.safetensors").read_bytes()).hexdigest())


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("content", ["truncated", "foreign", "no tensors", "empty"])
def test_weights(content, sealed, simulate, spoilt):
    weights = spoilt / "prior.safetensors"
    weights.write_bytes(
        {
            "truncated": weights.read_bytes()[:-100],
            "foreign": save({"weight": torch.zeros(3)}),
            "no tensors": b"no tensors " * 20,
            "empty": b"",
        }[content]
    )
    if sealed:
        seal(spoilt)
    refused(simulate(prior=spoilt), str(spoilt))


CARDS = {
    "network nonsense": {"network": {"layers": "many"}},
    "network list": {"network": [1, 2]},
    "network key": {"network": {"depth": 3}},
    "network widths": {"network": {"fold": 2, "widths": [], "layers": 1, "groups": 4}},
    "network groups": {"network": {"fold": 2, "widths": [8, 8], "layers": 1, "groups": 3}},
    "network fold": {"network": {"fold": 0, "widths": [8, 8], "layers": 1, "groups": 4}},
    "prediction": {"prediction": "x"},
    "range upside down": {"range": [1.0, 0.0]},
    "range short": {"range": [1.0]},
    "range words": {"range": ["low", "high"]},
    "range null": {"range": None},
    "sha256 null": {"sha256": None},
    "pixel size": {"pixel_size": "three"},
    "pixel size upside down": {"pixel_size": "3 to 2 mm"},
}


@pytest.mark.parametrize("card", CARDS)
def test_card(card, simulate, spoilt):
    change_card(spoilt, **CARDS[card])
    refused(simulate(prior=spoilt), str(spoilt))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_card_that_is_none(text, simulate, spoilt):
    (spoilt / "card.json").write_text(text)
    refused(simulate(prior=spoilt), str(spoilt))


def test_unknown_prior(simulate, tmp_path):
    refused(simulate(prior="chip-127"), "chip-127")
    refused(simulate(prior=tmp_path), str(tmp_path), "card.json")


def test_two_priors(simulate, tiny):
    refused(simulate("--prior", tiny), "2", "compare")


# Options

OPTIONS = [
    ("--posterior nonsense", "nonsense", "soft"),
    ("--policy nonsense", "nonsense", "variance"),
    ("--operator nonsense", "nonsense", "radon"),
    ("--device nonsense", "nonsense", "cpu"),
    ("--noise nonsense", "nonsense", "poisson"),
    ("--noise gaussian", "gaussian"),
    ("--noise gaussian:x", "gaussian:x"),
    ("--noise gaussian:-1", "gaussian:-1"),
    ("--noise gaussian:nan", "gaussian:nan"),
    ("--noise none:1", "none:1"),
    ("--noise poisson:0", "poisson:0"),
    ("--noise poisson:inf", "poisson:inf"),
    ("--noise relative", "relative"),
    ("--noise relative:x", "relative:x"),
    ("--noise relative:-1", "relative:-1"),
    ("--noise relatively:0.1", "relatively"),
    ("--noise relative:5000", "drowns", "signal to noise is 0.0002"),
    ("--noise gaussian:1e30", "drowns"),
    ("--pixel-size 3", "--pixel-size", "'3'", "0.1um"),
    ("--pixel-size 0um", "'0um'"),
    ("--pixel-size 1to2um", "is a range"),
    ("--posterior fbp --policy variance", "fbp", "variance", "uniform"),
    ("--count 1", "--count"),
    ("--count 0", "0"),
    ("--budget 0", "0"),
    ("--budget 21", "21", "20"),
    ("--angles 0", "0"),
    ("--bins 0", "0"),
    ("--bins -3", "-3"),
    ("--finer 0", "0"),
    ("--start -1", "-1"),
    ("--workers 0", "0"),
    ("--angles 1000000000", "angles is 1000000000", "1 to 10000"),
    ("--bins 1000000000", "bins is 1000000000"),
    ("--finer 1000", "finer is 1000"),
    ("--count 1000000000", "count is 1000000000"),
    ("--start 1000000000", "start is 1000000000"),
    ("--workers 100000", "workers is 100000"),
    ("--on nowhere", "'nowhere'", "local:2"),
    ("--on local", "local:"),
    ("--on local:0", "workers is 0"),
    ("--on local:many", "local:many"),
    ("--on slurm(colour=1)", "minutes"),
    ("--on slurm(", "slurm("),
    ("--on local:2 --workers 2", "--workers 2"),
    ("--at 999", "999", "3"),
    ("--at 0", "0"),
    ("--at x", "'x'"),
    ("--at 1-3", "1-3"),
    ("--at ,", ","),
]


@pytest.mark.parametrize(("words", "names"), [(words, names) for words, *names in OPTIONS])
def test_option(words, names, simulate, tmp_path):
    """Refused before the folder holds a run, so that the corrected command may use the same one."""
    refused(simulate(*words.split()), *names)
    assert not (tmp_path / "run" / "run.db").exists()


def test_cuda_without_a_gpu(simulate):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused(simulate("--device", "cuda"), "cuda")


@pytest.mark.parametrize("words", ["--posteriors nonsense", "--policies variance,nonsense"])
def test_compare_names(words, call, tiny, pictures, tmp_path):
    refused(call("compare", pictures, "--prior", tiny, "--out", tmp_path / "run", *words.split()), "nonsense")


@pytest.mark.parametrize("words", ["--posteriors fbp --policies variance", "--posteriors ,", "--policies ,"])
def test_compare_of_nothing(words, call, tiny, pictures, tmp_path):
    refused(call("compare", pictures, "--prior", tiny, "--out", tmp_path / "run", *words.split()))


# Folders


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_out_that_cannot_be_written(place, simulate, tmp_path):
    (tmp_path / "file").write_text("")
    refused(simulate("--out", tmp_path / place), str(tmp_path / place), "--out")


def test_resume_of_no_run(call, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "none", tmp_path / "file"):
        refused(call("resume", place), str(place))


def test_resume_of_a_foreign_record(call, tmp_path):
    (tmp_path / "run.db").write_text("no data base " * 100)
    refused(call("resume", tmp_path), str(tmp_path))


def test_resume_of_a_run_killed_before_it_began(call, simulate, tmp_path):
    """The record is there, but not yet what was asked for: begin again, in the same folder."""
    from tomopilot.files.archive import Archive

    (tmp_path / "run").mkdir()
    Archive(tmp_path / "run" / "run.db").close()
    refused(call("resume", tmp_path / "run"), str(tmp_path / "run"))


def test_resume_of_a_damaged_record(call, simulate, tmp_path):
    assert simulate("--posterior", "fbp", "--policy", "uniform").status == 0
    path = tmp_path / "run" / "run.db"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    refused(call("resume", tmp_path / "run"), str(path))


# Training


RECIPE = f"{TINY_TRAINING}warmup = 1\n"


@pytest.fixture
def train(call, pictures, tmp_path):
    def train(*words, image=pictures, recipe=RECIPE):
        (tmp_path / "recipe.toml").write_text(recipe)
        out = tmp_path / "prior"
        return call("train", image, "--recipe", tmp_path / "recipe.toml", "--out", out, *words)

    return train


def test_train_on_mixed_sizes(call, pictures, tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE + 'evenly = "file"\n')
    np.save(tmp_path / "small.npy", np.zeros((3, 16, 16), np.float32))
    words = ("--recipe", tmp_path / "recipe.toml", "--out", tmp_path / "prior")
    outcome = call("train", pictures, tmp_path / "small.npy", *words)
    assert outcome.status == 0, outcome.err


def test_train_evenly_over_what_is_not_there(train):
    refused(train("--evenly", "source"), "only npz files have an array 'source'")


SIZES = {"below the crop": (3, 12, 12), "oblong": (3, 32, 28), "no multiple": (3, 33, 33), "one": (1, 32, 32)}


@pytest.mark.parametrize("kind", SIZES)
def test_train_on_images(kind, train, tmp_path):
    np.save(tmp_path / "images.npy", np.linspace(0, 1, np.prod(SIZES[kind])).reshape(SIZES[kind]))
    names = {"below the crop": ("16", "12"), "oblong": ("32 x 28",), "no multiple": ("33",), "one": ("one",)}
    refused(train(image=tmp_path / "images.npy"), *names[kind])


def test_train_without_images(train, tmp_path):
    refused(train(image=tmp_path / "none.npz"), "none.npz")
    refused(train("--validation", tmp_path / "none.npz"), "none.npz")


def test_train_validation_of_another_size(train, tmp_path):
    np.save(tmp_path / "other.npy", np.linspace(0, 1, 2700).reshape(3, 30, 30))
    refused(train("--validation", tmp_path / "other.npy"), "30")


def test_train_on_values_outside_the_range(train, tmp_path):
    np.save(tmp_path / "images.npy", np.full((3, 32, 32), 255.0, np.float32))
    refused(train(image=tmp_path / "images.npy"), "255")
    np.save(tmp_path / "narrow.npy", np.linspace(0, 0.01, 3072, dtype=np.float32).reshape(3, 32, 32))
    refused(train(image=tmp_path / "narrow.npy"), "from 0 to 0.01", "range is [0.0, 1.0]")
    refused(train("--validation", tmp_path / "narrow.npy"), "from 0 to 0.01")


RECIPES = {
    "unknown key": ("[training]\nbatches = 3\n", "batches"),
    "broken": ("[training\n", "recipe.toml"),
    "steps word": (RECIPE + 'seed = "one"\n', "seed"),
    "rate word": (RECIPE + 'learning_rate = "fast"\n', "learning_rate"),
    "rate negative": (RECIPE + "learning_rate = -1.0\n", "learning_rate"),
    "table": ("training = 5\n", "training"),
    "network key": ("[training]\nnetwork = { depth = 3 }\n", "depth"),
    "network": ("[training]\nnetwork = 3\n", "network"),
    "prediction": (RECIPE + 'prediction = "x"\n', "x"),
    "range": (RECIPE + "range = [1.0, 0.0]\n", "range"),
    "range short": (RECIPE + "range = [1.0]\n", "range"),
    "crop no multiple": (RECIPE.replace("crop = 16", "crop = 15"), "15"),
    "crop 0": (RECIPE.replace("crop = 16", "crop = 0"), "crop"),
    "batch 0": (RECIPE.replace("batch = 2", "batch = 0"), "batch"),
    "save never": (RECIPE.replace("save_every = 1", "save_every = 0"), "save_every"),
    "validate never": (RECIPE.replace("validate_every = 1", "validate_every = 0"), "validate_every"),
    "warmup 0": (RECIPE.replace("warmup = 1", "warmup = -1"), "warmup"),
    "steps 0": (RECIPE.replace("steps = 2", "steps = 0"), "steps"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_recipe(kind, train):
    recipe, name = RECIPES[kind]
    refused(train(recipe=recipe), name)


def test_missing_recipe(call, pictures, tmp_path):
    path = tmp_path / "none.toml"
    refused(call("train", pictures, "--recipe", path, "--out", tmp_path / "prior"), "none.toml")


@pytest.mark.parametrize("steps", [0, -5])
def test_train_steps(steps, train):
    refused(train("--steps", steps), "steps", str(steps))


def test_train_resume(train):
    refused(train("--resume"), "prior", "without --resume")
    assert train().status == 0
    refused(train("--resume", recipe=RECIPE.replace("batch = 2", "batch = 3")), "batch")


def test_train_does_not_overwrite_a_prior(train, tmp_path):
    assert train().status == 0
    before = (tmp_path / "prior" / "prior.safetensors").read_bytes()
    refused(train("--seed", 5), "prior", "--resume")
    assert (tmp_path / "prior" / "prior.safetensors").read_bytes() == before
