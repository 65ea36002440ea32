"""Whatever file is damaged: the same numbers or a sentence, soon and in little memory, never a traceback."""

import json
import random
import shutil
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from damage import FLIPS, MEMORY, SHORT, TRUNCATIONS, Trial, damages, needs_proc, resident, summary, tried
from live.conftest import SETUP, drive, open_beam
from PIL import Image
from samples import (
    TINY_TRAINING,
    disc_projections,
    save_dataexchange,
    save_dicom,
    save_fastmri,
    save_nxtomo,
    save_series,
)

from tomopilot.live.live import hold

RECIPE = f'name = "tiny"{TINY_TRAINING}'
QUEUE = """
[[prior]]
recipe = "tiny.toml"
images = ["bars.npy"]
validation = "bars.npy"
hours = 1e-4
"""
pytestmark = [needs_proc, pytest.mark.fault]

CHANGED = "was changed after it was written"  # said of cards, which people may edit
SCAN = (
    "--budget",
    4,
    "--angles",
    20,
    "--count",
    2,
    "--start",
    1,
    "--at",
    "all",
    "--posterior",
    "soft(steps=3)",
)
PLAIN = ("--budget", 2, "--angles", 20, "--posterior", "tv", "--policy", "uniform")


@dataclass(frozen=True)
class Kind:
    """A kind of file, and how it is read."""

    name: str  # of the file, in its folder
    words: tuple[object, ...]  # of the command; `{}` is the folder
    left: str | None = None  # what holds the numbers, where they must be those of the sound file
    endless: bool = False  # whether a changed number may well ask for hours

    def command(self, folder: Path) -> list[str]:
        return [str(word).replace("{}", str(folder)) for word in self.words]


def simulated(image: str, *words: object) -> tuple[object, ...]:
    return ("simulate", f"{{}}/{image}", *(words or PLAIN), "--out", "{}/out")


def trained(out: str, *words: object) -> tuple[object, ...]:
    recipe = ("--recipe", "{}/tiny.toml", "--device", "cpu")
    return ("train", "{}/bars.npy", *recipe, "--out", f"{{}}/{out}", *words)


PRIOR = simulated("bars.npy::0", "--prior", "{}/tiny", *SCAN)
ROWS = ("--operator", "mri", "--budget", 2, "--posterior", "zero-filled", "--policy", "uniform")
LONGER = trained("trained", "--steps", 3, "--resume")
KINDS = {
    "run.db": Kind("run.db", ("resume", "{}"), "summary.json"),
    "live.db": Kind("live/live.db", ("export", "{}/live", "--out", "{}/live.nxs")),
    "card": Kind("tiny/card.json", PRIOR, "out/summary.json"),
    "weights": Kind("tiny/prior.safetensors", PRIOR, "out/summary.json"),
    "recipe": Kind("tiny.toml", trained("out"), endless=True),
    "queue": Kind(
        "queue.toml",
        ("train", "--queue", "{}/queue.toml", "--out", "{}/out", "--device", "cpu"),
        endless=True,
    ),
    "state": Kind("trained/state.safetensors", LONGER, "trained/prior.safetensors"),
    "history": Kind("trained/history.json", LONGER),
    "replay": Kind("summary.json", simulated("bars.npy::0", *PLAIN[:-1], "replay:{}")),
    "npy": Kind("bars.npy", simulated("bars.npy::0")),
    "npz": Kind("bars.npz", simulated("bars.npz::0")),
    "png": Kind("bars.png", simulated("bars.png")),
    "tif": Kind("bars.tif", simulated("bars.tif::0")),
    "h5": Kind("bars.h5", simulated("bars.h5::0")),
    "dcm": Kind("bars.dcm", simulated("bars.dcm")),
    "fastmri": Kind("mri.h5", simulated("mri.h5::0", *ROWS)),
    "nxtomo": Kind("scan.nxs", ("inspect", "{}/scan.nxs")),
    "dx": Kind("scan.h5", ("inspect", "{}/scan.h5")),
    "measured npz": Kind("scan.npz", ("inspect", "{}/scan.npz")),
    "tiff series": Kind("series/p_30.tif", ("inspect", "{}/series")),
    "angles": Kind("series/angles.csv", ("inspect", "{}/series")),
}


@pytest.fixture(autouse=True)
def images_lie_beside(whole, monkeypatch) -> None:
    """Where a queue looks for its images."""
    monkeypatch.setenv("TOMOPILOT_DATA", str(whole))


@pytest.fixture(scope="module")
def whole(call, tiny, pictures, tmp_path_factory) -> Path:
    """A folder with one file of each kind, undamaged."""
    folder = tmp_path_factory.mktemp("damage")
    shutil.copytree(tiny, folder / "tiny")
    shutil.copy(pictures, folder / "bars.npy")
    images = np.load(pictures)
    counts = (255 * images / images.max()).astype(np.uint8)
    np.savez_compressed(folder / "bars.npz", images=images)
    Image.fromarray(counts[0]).save(folder / "bars.png")
    tifffile.imwrite(folder / "bars.tif", counts, photometric="minisblack", compression="zlib")
    with h5py.File(folder / "bars.h5", "w") as file:
        file.create_dataset("images", data=images, compression="gzip")
    save_dicom(folder / "bars.dcm", counts[0])
    save_fastmri(folder / "mri.h5")
    save_nxtomo(folder / "scan.nxs")
    save_dataexchange(folder / "scan.h5")
    save_series(folder / "series")
    lines = disc_projections(np.arange(90) * np.pi / 90, 64).astype(np.float32)
    np.savez_compressed(folder / "scan.npz", sinogram=lines, angles_deg=np.arange(0, 180, 2.0))
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "queue.toml").write_text(QUEUE)
    words = ("simulate", f"{pictures}::0", "--prior", tiny, *SCAN)
    assert call(*words, "--out", folder / "scan").status == 0
    for name in ("run.db", "summary.json"):
        shutil.copy(folder / "scan" / name, folder)
    halve(folder / "run.db")
    assert call(*Kind("", trained("trained")).command(folder)).status == 0
    with hold(folder / "live", SETUP) as live:
        open_beam(live)
        drive(live, 3)
    return folder


def halve(record: Path) -> None:
    """Makes the record of a scan one that was stopped after its second measurement."""
    with sqlite3.connect(record, isolation_level=None) as connection:
        for table in ("steps", "blocks"):
            connection.execute(f"delete from {table} where number > 2")
        connection.execute("delete from estimates")
        connection.execute("delete from draws")
        connection.execute("vacuum")
    connection.close()


def numbers_of(path: Path) -> object:
    """What a scan or a training came to."""
    if path.suffix != ".json":
        return path.read_bytes()
    (scan,) = json.loads(path.read_text())["images"]
    return scan["designs"], scan["psnr"]


def carried_out(call, words: list[str], folder: Path) -> Trial:
    """A command in a process of its own."""

    def action() -> tuple[int, str]:
        outcome = call(*words)
        return outcome.status, outcome.err

    return tried(action, folder / "said")


def endure(call, whole: Path, kind: Kind, tmp_path: Path, cuts: int, flips: int) -> list[Trial]:
    """Reads a file in many damaged states; asserts that each ends as it should."""
    chance, trials = random.Random(0), []
    good = tmp_path / "good"
    shutil.copytree(whole, good)
    sound = carried_out(call, kind.command(good), good)
    assert sound.status == 0, sound
    for number, content in enumerate(damages((whole / kind.name).read_bytes(), cuts, flips, chance)):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / kind.name).write_bytes(content)
        trial = carried_out(call, kind.command(folder), folder)
        assert "Traceback" not in trial.err, trial
        assert trial.status in (0, 2) or (kind.endless and trial.status == -signal.SIGPROF), trial
        if trial.status == 2:
            assert trial.err.strip().splitlines()[-1].startswith("tomopilot:"), trial
        if kind.left and not trial.status and CHANGED not in trial.err:
            assert numbers_of(folder / kind.left) == numbers_of(good / kind.left)
        trials.append(trial)
        shutil.rmtree(folder)
    assert max(trial.memory for trial in trials) < MEMORY + resident()
    return trials


@pytest.mark.parametrize(
    "name", ["run.db", "live.db", "card", "weights", "state", "recipe", "nxtomo", "dx", "measured npz"]
)
def test_damage(name, call, whole, tmp_path):
    endure(call, whole, KINDS[name], tmp_path, SHORT, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_much_damage(name, call, whole, tmp_path, capsys):
    trials = endure(call, whole, KINDS[name], tmp_path, TRUNCATIONS, FLIPS)
    with capsys.disabled():
        print(summary(name, trials))


EDITS = {
    "changed after the run started": lambda about: {**about, "run": about["run"].replace("20", "30")},
    "by another version": lambda about: {"plan": "{}", "version": "0.0.9"},
    "by another version of tomopilot (unknown)": lambda about: 5,
}


@pytest.mark.parametrize("said", EDITS)
def test_a_plan_that_was_edited_is_rejected(said, call, whole, tmp_path):
    shutil.copy(whole / "run.db", tmp_path)
    with sqlite3.connect(tmp_path / "run.db", isolation_level=None) as connection:
        ((value,),) = connection.execute("select value from about where key = 'run'").fetchall()
        connection.execute("update about set value = ?", (json.dumps(EDITS[said](json.loads(value))),))
    connection.close()
    outcome = call("resume", tmp_path)
    assert outcome.status == 2 and said in outcome.err, outcome
