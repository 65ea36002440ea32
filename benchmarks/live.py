"""What a beamline waits for: seconds from telling a projection to the next angle, with overlap and without.

    python benchmarks/live.py --sizes 128 512 --slices 1 64 --exposure 2 --out runs/latency

Chip slices behind a simulated camera, prior chip-128 or chip-512, `scout:moments`, variance. With overlap the
next angle is asked for while the present one is exposed; without it, after the present one was told. One
process, its torch threads as the machine has them; every exposure takes `--exposure` seconds. `work` is the
seconds of a processor from asking to the answer, whatever else the machine does. A row is kept once it is
there, so that a run may be cut: a line is printed after each angle.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tomopilot.files.images import read_images
from tomopilot.live.live import hold
from tomopilot.live.setup import Setup
from tomopilot.simulate.camera import Camera

SCALE = 0.01  # absorption of a pixel of metal


def volume(size: int, slices: int) -> torch.Tensor:
    """Chip slices (slices, size, size), magnified from 128 pixels where more are wanted."""
    images = torch.stack([image.pixels for image in read_images("phantom:chip::0-3")])
    images = torch.nn.functional.interpolate(images[:, None], size=size, mode="bilinear")[:, 0]
    return images.repeat(-(-slices // len(images)), 1, 1)[:slices]


def waits(
    size: int, slices: int, overlap: bool, exposure: float, budget: int
) -> Iterator[tuple[float, float]]:
    """Seconds that each angle after the opening was waited for, and seconds of a processor."""
    camera = Camera(volume(size, slices), SCALE)
    setup = Setup(
        columns=size, rows=slices, scale=SCALE, prior="chip-512" if size > 128 else "chip-128", budget=budget,
        count=10, deadline=600.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, hold(Path(folder), setup) as live:
        live.flats(camera.flats())
        one = live.suggest()
        for number in range(1, budget):
            if overlap:
                begun, used = time.perf_counter(), time.process_time()
                following = live.suggest()
                waited, used = max(0.0, time.perf_counter() - begun - exposure), time.process_time() - used
                time.sleep(max(0.0, exposure - (time.perf_counter() - begun)))
                live.tell(one.id, camera.frame(one.angle), one.angle)
            else:
                time.sleep(exposure)
                frame, begun, used = camera.frame(one.angle), time.perf_counter(), time.process_time()
                live.tell(one.id, frame, one.angle)
                following = live.suggest()
                waited, used = time.perf_counter() - begun, time.process_time() - used
            if number >= setup.start:
                yield waited, used
            one = following


def summary(waited: Sequence[float], work: Sequence[float]) -> dict[str, float]:
    """Median and largest of each."""
    known = {"wait": waited, "work": work}
    return {name: statistics.median(seconds) for name, seconds in known.items()} | {
        f"longest {name}": max(seconds) for name, seconds in known.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--exposure", type=float, default=2.0)
    parser.add_argument("--budget", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/latency"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in given.sizes:
        for slices in given.slices:
            for overlap in (False, True):
                found = []
                row = {"size": size, "slices": slices, "overlap": overlap, "exposure": given.exposure}
                rows.append(row)
                for each in waits(size, slices, overlap, given.exposure, given.budget):
                    found.append(each)
                    row |= {"exposure": given.exposure, "angles": len(found)} | summary(
                        *zip(*found, strict=True)
                    )
                    print(json.dumps(row), flush=True)
                    (given.out / "latency.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
