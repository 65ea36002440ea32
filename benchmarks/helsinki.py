"""Measured discs of the Helsinki Tomography Challenge 2022, scanned again from a few of their projections.

    .venv/bin/python benchmarks/helsinki.py ../shared/data/measured --out runs/helsinki

Each of the 721 recorded projections (fan beam, half a degree apart) may be asked for. The same prior and
samples for adaptive, uniform and random angles; total variation and filtered back-projection of the uniform
ones beside them. Quality is PSNR against the filtered back-projection of all projections, and the
challenge's own score, Matthews' correlation of the pixels above Otsu's threshold with the published
segmentation. An image for every disc, and all rows in `rows.json`. Goes on where it was stopped.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.ndimage import affine_transform
from skimage.filters import threshold_otsu

from tomopilot.design.stopping import budget
from tomopilot.experiment import run
from tomopilot.scan.plan import Plan, Scan, plan_of
from tomopilot.scan.replayed import read_recorded, recorded_spec
from tomopilot.scan.virtual import image_of, virtual

matplotlib.use("agg")
import matplotlib.pyplot as plt

DISCS = ("ta", "tb", "tc")
METHODS = (
    ("auto", "variance"),
    ("auto", "uniform"),
    ("auto", "random"),
    ("tv", "uniform"),
    ("fbp", "uniform"),
)
AT = (6, 8, 12, 20)


def on_reference(image: np.ndarray, pixel: float, side: int, reference_pixel: float) -> np.ndarray:
    """The image on the grid of the reference; both are centred on the axis."""
    ratio = reference_pixel / pixel
    offset = (len(image) - 1) / 2 - ratio * (side - 1) / 2
    return affine_transform(image, [ratio, ratio], offset, (side, side), order=1)


def matthews(found: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of two masks, 1 where they are equal (the challenge's score)."""
    return float(np.corrcoef(found.ravel(), truth.ravel())[0, 1])


def scanned(plan: Plan, scan: Scan, disc: dict, folder: Path) -> list[dict]:
    """The judged counts of one scan; its estimates are left in the folder."""
    cell, rows = virtual(plan, scan), []
    pixel = 1e3 * (image_of(plan, scan.image).pixel_size or 1.0)  # mm
    truth = np.unpackbits(disc["reference_segmentation"])[: disc["segmentation_shape"].prod()]
    truth = truth.reshape(disc["segmentation_shape"])
    for step in run(cell.parts.experiment, cell.instrument, until=budget(plan.budget)):
        if not plan.judges(step.count):
            continue
        image = step.draws.guess.numpy()
        seen = on_reference(image, pixel, len(truth), float(disc["parallel_pixel_mm"]))
        score = matthews(seen > threshold_otsu(seen), truth)
        rows.append({
            "posterior": scan.method.posterior, "policy": scan.method.policy, "count": step.count,
            "psnr": cell.judge.judged(step.draws)["psnr"], "matthews": score,
        })  # fmt: skip
        np.save(folder / f"{scan.method.posterior}-{scan.method.policy}-{step.count}.npy", image)
    alarm, surprises = cell.parts.experiment.raised, cell.parts.experiment.surprises
    return [{**row, "alarm": alarm and alarm.at, "surprises": surprises} for row in rows]


def show(ax: Axes, image: np.ndarray) -> None:
    """From nothing to the disc's own value, in whatever units."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99))


def picture(folder: Path, truth: np.ndarray, rows: list[dict]) -> None:
    """Estimates by count (columns) and method (rows), and the reconstruction from all angles."""
    figure, axes = plt.subplots(len(METHODS), len(AT) + 1, figsize=(2 * len(AT) + 2, 2 * len(METHODS)))
    for line, (posterior, policy) in zip(axes, METHODS, strict=True):
        for ax, count in zip(line, AT, strict=False):
            (row,) = (
                r for r in rows if (r["posterior"], r["policy"], r["count"]) == (posterior, policy, count)
            )
            show(ax, np.load(folder / f"{posterior}-{policy}-{count}.npy"))
            ax.set_title(f"{posterior}, {policy}, {count}: {row['matthews']:.3f}", fontsize=7)
        show(line[-1], truth)
        line[-1].set_title("all", fontsize=7)
    for ax in axes.ravel():
        ax.axis("off")
    figure.tight_layout()
    figure.savefig(folder.with_suffix(".png"), dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prior", default="disc-128")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--discs", nargs="+", default=DISCS)
    parser.add_argument("--out", type=Path, default=Path("runs/helsinki"))
    given = parser.parse_args()
    for name, seed in product(given.discs, range(given.seeds)):
        source, folder = given.data / f"htc2022_{name}.npz", given.out / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        disc, found = dict(np.load(source)), []
        for posterior, policy in METHODS:
            plan = plan_of(
                [recorded_spec(str(source))], priors=[given.prior], posteriors=[posterior], policies=[policy],
                count=given.count, budget=max(AT), at=AT, seed=seed,
            )  # fmt: skip
            kept = folder / f"{posterior}-{policy}.json"
            if not kept.exists():
                kept.write_text(json.dumps(scanned(plan, plan.scans[0], disc, folder)))
            rows = json.loads(kept.read_text())
            found += rows
            for row in rows:
                print(f"{name} {seed} {posterior:5} {policy:9} {row['count']:3} {row['psnr']:.2f} dB, "
                      f"{row['matthews']:.4f}, alarm {row['alarm']}", flush=True)  # fmt: skip
        whole = read_recorded(recorded_spec(str(source)), 128, given.prior)
        picture(folder, whole.pixels.numpy(), found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
