"""Peers' samplers beside our posteriors: the same prior, slices, angles, noise and number of samples.

    .venv/bin/python compare.py [--posteriors prox,soft] [--peers "azula MMPS,deepinv DDRM"] [--slices 20,96]
                                [--angles 5,10,20] [--samples 3] [--again prox] [--out results.csv]

Each finished cell (weights, noise, samples, method, slice, angles) is a line of the CSV and is not computed
again; the table beside it (.md) shows the lines with these weights, noise and number of samples.
`--posteriors ''` leaves ours out.
"""

import argparse
import csv
import subprocess
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean, mean

import peers
import torch

from tomopilot.bench.calibration import spread_and_error, spread_over_error
from tomopilot.files.images import read_images
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.metrics import psnr
from tomopilot.nets.build import fast_precision
from tomopilot.posterior.posterior import Posterior
from tomopilot.prior.checkpoint import load_prior
from tomopilot.prior.denoiser import Denoiser
from tomopilot.randomness import stream
from tomopilot.records import Data, Observation
from tomopilot.scan.assemble import noise_of
from tomopilot.scan.parts import POSTERIORS
from tomopilot.scan.summary import mean_and_two_se
from tomopilot.simulate.instrument import Simulated

ROOT = Path(__file__).resolve().parents[2]
SLICES, ANGLES, OF = "20,96,172,248,40,116,192,268", "5,10,20", 180
KEY = ("weights", "noise", "samples", "method", "slice", "angles")
FOUND = ("psnr", "psnr_one", "seconds", "evaluations", "products", "misfit", "spread_over_error")
COLUMNS = (*KEY, *FOUND, "code")
FITTING = {name: entry for name, entry in POSTERIORS.items() if entry.kind in (None, "projection")}
OURS = {name: entry.make for name, entry in FITTING.items() if entry.needs_prior}
BARE = {name: entry.make for name, entry in FITTING.items() if not entry.needs_prior}

Row = dict[str, str]


class Counted:
    """A denoiser that counts, in images, its evaluations and the vector-Jacobian products through it."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.evaluations, self.products = denoise, 0, 0

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.evaluations += len(x)
        clean = self.denoise(x, sigma)
        if clean.grad_fn is not None:
            clean.grad_fn.register_prehook(self._product)
        return clean

    def _product(self, gradients: tuple[torch.Tensor, ...]) -> None:
        self.products += len(gradients[0])


def measured(truth: torch.Tensor, angles: int, noise: str, seed: int) -> Data:
    """Projections at `angles` equispaced angles; noise depends on the slice and the angle alone."""
    operator = Radon(len(truth), half_turn(OF))
    exact = Simulated(truth, operator, Gaussian()).clean(torch.arange(OF))
    instrument = Simulated(truth, operator, noise_of(noise, exact, len(truth)), seed=seed)
    index = torch.tensor([round(i * OF / angles) for i in range(angles)])
    values = torch.stack([instrument(design) for design in index.tolist()])
    observation = Observation(operator, index, values, instrument.noise)
    return Data(operator.image_shape, observations=(observation,))


def cell(
    posterior: Posterior, meter: Counted, truth: torch.Tensor, peak: float, data: Data, samples: int
) -> Row:
    """What one method finds for one slice; what belongs to the angles alone is prepared off the clock."""
    data.gradient(torch.zeros(1, *data.image_shape))
    if isinstance(posterior, peers.DDRM | peers.DiffPIR):
        peers.decomposable(data.observations[0].operator, 1.0)
    start = time.process_time()
    draws = posterior.sample(data, samples, rng=stream(0, "peers", len(data)))
    seconds = time.process_time() - start
    several = len(draws.images) > 1
    found = {
        "psnr": psnr(draws.guess, truth, peak),
        "psnr_one": mean(psnr(image, truth, peak) for image in draws.images),
        "seconds": seconds,
        "misfit": (2 * data.misfit(draws.images) / data.numel).mean().item(),
        "spread_over_error": spread_over_error([spread_and_error(draws.images, truth)]) if several else None,
    }
    counts = {"evaluations": str(meter.evaluations), "products": str(meter.products)}
    return {name: "" if value is None else f"{value:.4f}" for name, value in found.items()} | counts


@cache
def code(method: str) -> str:
    """Which code a row comes from."""
    package = method.split()[0]
    if package in ("azula", "deepinv"):
        return f"{package} {version(package)}"
    git = ("git", "-C", str(ROOT))
    commit = subprocess.check_output(
        [*git, "log", "-1", "--format=%h", "--", "src/tomopilot"], text=True
    ).strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "src/tomopilot"]).returncode
    return f"tomopilot {commit}{'+' if changed else ''}"


def read(path: Path) -> list[Row]:
    with path.open() as file:
        return list(csv.DictReader(file))


def forget(path: Path, methods: list[str]) -> None:
    """Leaves out the rows of some methods, to be computed again."""
    kept = [row for row in read(path) if row["method"] not in methods]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)


def append(path: Path, row: Row) -> None:
    with path.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(row)


def with_band(values: list[float]) -> str:
    middle, band = mean_and_two_se(values)
    return f"{middle:.1f} ± {band:.1f}" if band is not None else f"{middle:.1f}"


def table(rows: list[Row], beside: str) -> str:
    """Means over slices, best first; the last column is the mean difference on the slices that both have."""
    heads = ["angles", "method", "dB of the mean", "dB of a sample", "seconds", "evaluations", "products"]
    heads += ["misfit", "spread/error", "slices", f"dB over {beside}", "code"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for angles in sorted({int(row["angles"]) for row in rows}):
        there = [row for row in rows if int(row["angles"]) == angles]
        reference = {row["slice"]: float(row["psnr"]) for row in there if row["method"] == beside}
        methods = {row["method"]: [r for r in there if r["method"] == row["method"]] for row in there}
        for name, own in sorted(methods.items(), key=lambda item: -mean(float(r["psnr"]) for r in item[1])):
            column = {key: [float(row[key]) for row in own if row[key]] for key in FOUND}
            gains = [float(r["psnr"]) - reference[r["slice"]] for r in own if r["slice"] in reference]
            ratios = column["spread_over_error"]
            cells = [str(angles), name, with_band(column["psnr"]), f"{mean(column['psnr_one']):.1f}"]
            cells += [f"{mean(column[key]):.{places}f}" for key, places in
                      (("seconds", 1), ("evaluations", 0), ("products", 0), ("misfit", 2))]  # fmt: skip
            cells += [f"{geometric_mean(ratios):.2f}" if ratios else "", str(len(own))]
            cells += [with_band(gains) if gains and name != beside else "", own[-1]["code"]]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def names(text: str) -> list[str]:
    """Of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--posteriors", type=names, default=[*OURS, "tv"], help="of ours, and tv, fbp")
    parser.add_argument("--peers", type=names, default=[*peers.PEERS])
    parser.add_argument("--slices", type=names, default=names(SLICES))
    parser.add_argument("--angles", type=names, default=names(ANGLES))
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--noise", default="relative:0.01")
    parser.add_argument("--prior", default="chip-128")
    parser.add_argument("--images", default=str(ROOT.parent / "shared/data/chip/validation.npz"))
    parser.add_argument(
        "--beside", default="prox", help="the method that others are compared with, slice by slice"
    )
    parser.add_argument("--again", type=names, default=[], help="methods whose rows are thrown away first")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.csv"))
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    prior = load_prior(chosen.prior, precision=fast_precision("cpu"))
    known = {
        **OURS,
        **{name: lambda *_, make=make: make() for name, make in BARE.items()},
        **peers.PEERS,
    }
    if not chosen.out.exists():
        chosen.out.write_text(",".join(COLUMNS) + "\n")
    if chosen.again:
        forget(chosen.out, chosen.again)
    weights = f"{chosen.prior} {prior.card['sha256'][:8]}"
    same = {"weights": weights, "samples": str(chosen.samples), "noise": chosen.noise}

    def mine() -> list[Row]:
        return [row for row in read(chosen.out) if same.items() <= row.items()]

    for which in chosen.slices:
        (image,) = read_images(f"{chosen.images}::{which}")
        for angles in chosen.angles:
            data = measured(image.pixels, int(angles), chosen.noise, int(which))
            for method in [*chosen.posteriors, *chosen.peers]:
                key = same | {"method": method, "slice": which, "angles": angles}
                if any(key.items() <= row.items() for row in mine()):
                    continue
                meter = Counted(prior)
                posterior = known[method](meter, prior.scale)
                found = cell(posterior, meter, image.pixels, prior.peak, data, chosen.samples)
                append(chosen.out, key | found | {"code": code(method)})
                print(f"slice {which}, {angles} angles, {method}: {found}", flush=True)
        heading = f"`{weights}`, noise {chosen.noise}, {chosen.samples} samples\n\n"
        chosen.out.with_suffix(".md").write_text(heading + table(mine(), chosen.beside))
    print(table(mine(), chosen.beside))


if __name__ == "__main__":
    main()
