"""A chip that is drawn, and slices of it as an earlier tomography would give them (docs/own-prior.md).

    .venv/bin/python benchmarks/layout.py draw chip.gds
    .venv/bin/python benchmarks/layout.py measure sets/chip/train.npz slices.npz
    .venv/bin/python benchmarks/layout.py volume chip.gds volume.npz

draw: 160 x 110 um of sky130 wires on tracks, one direction a level, with vias where wires cross.
measure: total variation reconstructions of the same slices from 45 projections with 2 % noise.
volume: 64 slices of one place, from the lowest metal to the highest.
"""

import random
import sys
from pathlib import Path

import klayout.db as db
import numpy as np
import torch

from tomopilot.files.layout import Layout
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.classical import TotalVariation
from tomopilot.prepare.chips import Chips
from tomopilot.prepare.crops import Cut, rescaled
from tomopilot.prepare.stack import read_stack
from tomopilot.records import Data

WIDE, HIGH, UNIT = 160_000, 110_000, 0.001  # in units of 1 nm, and um a unit
WIRES = {  # layer, datatype: horizontal, pitch, width
    (67, 20): (True, 340, 170), (68, 20): (True, 340, 140), (69, 20): (False, 460, 140),
    (70, 20): (True, 680, 300), (71, 20): (False, 920, 300),
}  # fmt: skip
VIAS = {
    (67, 44): 170,
    (68, 44): 150,
    (69, 44): 200,
    (70, 44): 200,
}  # between neighbouring wires, and their width
ANGLES, NOISE = 45, 0.02
SLICES, CUT = 64, Cut(256, 128)


def wires(rng: random.Random, horizontal: bool, pitch: int, width: int) -> list[db.Box]:
    """Segments of random lengths on tracks; fewer where the chip is loosely filled."""
    across, along = (HIGH, WIDE) if horizontal else (WIDE, HIGH)
    boxes = []
    for track in range(pitch, across - pitch, pitch):
        at = rng.randrange(4 * pitch)
        while at < along:
            length, filled = rng.randrange(4 * pitch, 60 * pitch), rng.random() < 0.55
            if filled:
                ends = (at, track, min(at + length, along), track + width)
                boxes.append(db.Box(*(ends if horizontal else (ends[1], ends[0], ends[3], ends[2]))))
            at += length + rng.randrange(pitch, 8 * pitch)
    return boxes


def draw(path: str, seed: int = 0) -> None:
    layout, rng = db.Layout(), random.Random(seed)
    layout.dbu = UNIT
    top, drawn = layout.create_cell("CHIP"), []
    for layer, kind in WIRES.items():
        region = db.Region(wires(rng, *kind))
        top.shapes(layout.layer(*layer)).insert(region)
        drawn.append(region)
    for (layer, width), below, above in zip(VIAS.items(), drawn, drawn[1:], strict=False):
        crossed = [box.bbox().center() for box in (below & above).each() if rng.random() < 0.4]
        vias = [
            db.Box(p.x - width // 2, p.y - width // 2, p.x + width // 2, p.y + width // 2) for p in crossed
        ]
        top.shapes(layout.layer(*layer)).insert(db.Region(vias))
    layout.write(path)


def measure(source: str, out: str) -> None:
    with np.load(source) as given:
        kept = dict(given)
    rng, found = torch.Generator().manual_seed(0), []
    for image in torch.from_numpy(kept["images"]).float() / 255:
        operator = Radon(image.shape[-1], half_turn(ANGLES))
        clean = operator.forward(image[None])[0]
        noise = Gaussian(NOISE * clean.square().mean().sqrt().item())
        data = Data(operator.image_shape)
        for design, values in enumerate(noise.sample(clean, rng=rng)):
            data = data.add(operator, design, values, noise)
        found.append(TotalVariation().sample(data, 1, rng=rng).guess.clamp(0, 1))
    kept["images"] = (255 * torch.stack(found)).round().byte().numpy()
    np.savez_compressed(out, **kept)


def volume(source: str, out: str) -> None:
    chip, stack = Layout(Path(source)), read_stack(Path("recipes/stacks/sky130.toml"))
    levels = [level for level in stack.metals if level.gds in WIRES]
    ends = min(level.bottom_um for level in levels), max(level.top_um for level in levels)
    middle = WIDE * UNIT / 2, HIGH * UNIT / 2
    cut = Chips([chip], stack, CUT)
    slices = [rescaled(cut.slice(chip, height, *middle), CUT.size) for height in np.linspace(*ends, SLICES)]
    np.savez_compressed(out, images=np.stack(slices).clip(0, 1).astype(np.float32))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"draw": draw, "measure": measure, "volume": volume}[sys.argv[1]](*sys.argv[2:])
