"""Every slice of a measured volume, reconstructed by itself: in bounded memory, here or by workers."""

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from tomopilot.design.trust import Trust
from tomopilot.files.nexus import read_row
from tomopilot.files.voxels import Voxels, done, write_slice
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.measure.stack import Stack
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.denoiser import Metered
from tomopilot.randomness import stream
from tomopilot.records import Data, Observation
from tomopilot.scan.assemble import posterior, prior_of
from tomopilot.scan.outputs import deviation
from tomopilot.scan.parts import Method
from tomopilot.scan.tasks import Task, carry_out, check_visible, first_failure

PARTS = 64  # that the slices of a volume are handed out in, at most


@dataclass(frozen=True)
class Volume:
    """A measured volume, and how its slices are reconstructed; on any machine that sees both files."""

    frames: Path  # of the scan, see `write_scan`
    store: Path  # of the slices, see `create_store`
    slices: int
    operator: Operator  # of one slice, at the settings that were reached
    noise: tuple[Noise, ...]  # of the frame at each of them
    order: tuple[int, ...]  # place of that frame among all
    method: Method
    count: int  # of samples
    seed: int
    device: str

    def slice(self, number: int) -> Voxels:
        """The reconstruction of one slice: the same whoever makes it, and in whatever order."""
        start = time.perf_counter()
        prior = prior_of(self.method, self.device)
        meter, trust = (Metered(prior), Trust.from_card(prior.card)) if prior else (None, Trust())
        made = Slicewise(posterior(self.method.estimator, prior, meter, trust), (number,))
        rng = stream(self.seed, "draws", len(self.order))
        draws = made.sample(self.data(number), self.count, rng=rng)
        guess, spread = draws.guess[0], deviation(draws.images[:, 0])
        return Voxels(guess.cpu().numpy(), spread.cpu().numpy(), time.perf_counter() - start)

    def data(self, number: int) -> Data:
        """What was measured of one slice, as of a volume of one."""
        rows = torch.from_numpy(read_row(self.frames, number))[list(self.order), None].to(self.device)
        parts = []
        for noise in dict.fromkeys(self.noise):
            own = [place for place, other in enumerate(self.noise) if other == noise]
            parts.append(Observation(self._one, self._one.settings[own], rows[own], noise))
        return Data(self._one.image_shape, rows.device, tuple(parts))

    @cached_property
    def _one(self) -> Stack:
        """What measures one slice, with weights that all slices share."""
        return Stack(self.operator.to(self.device), 1)


@dataclass(frozen=True)
class Slices(Task):
    """Some slices of a volume; those that are done are not done again."""

    volume: Volume
    numbers: range

    def do(self) -> None:
        check_visible(self.volume.store)
        ready = done(self.volume.store)
        for number in self.numbers:
            if number not in ready:
                write_slice(self.volume.store, number, self.volume.slice(number))


def reconstruct(volume: Volume, pool: Executor | None = None) -> Iterator[int]:
    """Reconstructs the slices that are not done yet; yields, now and then, how many are.

    With workers, what went wrong is raised once all others are done.
    """
    each = -(-volume.slices // PARTS)
    parts = [range(first, min(first + each, volume.slices)) for first in range(0, volume.slices, each)]
    ready, failed = done(volume.store), {}
    tasks = [Slices(volume, part) for part in parts if not ready.issuperset(part)]
    for task, error in carry_out(pool, tasks):
        if error is None:
            ready.update(task.numbers)
            yield len(ready)
        else:
            failed[task.numbers.start] = error
    if failed:
        named = [(f"slice {first}", error) for first, error in sorted(failed.items())]
        raise first_failure(named, volume.frames.parent)
