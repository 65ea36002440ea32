"""A stand-in for the beamline: measures a known image."""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.measure.projector import Projector
from tomopilot.measure.stack import Stack
from tomopilot.randomness import stream


class Simulated:
    """Measures designs of `operator` on a known image.

    Its noise depends on `seed`, `name` (of the image), the design and how often that was measured before:
    images of one study differ, repeats of one design differ, and the order of the designs does not matter.

    With `finer` above 1 the projections are computed on a grid that many times finer than the
    reconstruction's, from square pixels, and averaged over each detector bin, so that reconstruction cannot
    profit from sharing the projector (the inverse crime). It needs a `Projector`.

    name: of the image; of a volume, those of its slices, whose noise is that of a measurement of it alone
    """

    def __init__(
        self,
        image: Float[Tensor, "*image"],
        operator: Operator,
        noise: Noise,
        *,
        seed: int = 0,
        finer: int = 1,
        name: str | Sequence[str] = "",
    ) -> None:
        if tuple(image.shape) != operator.image_shape:
            raise ValueError(
                f"the image has shape {tuple(image.shape)}, the operator measures {operator.image_shape}: "
                "crop or rescale it"
            )
        if finer < 1:
            raise ValueError(f"a grid {finer} times finer was asked for; expected 1 or more")
        self.image, self.operator, self.noise, self.seed, self.finer = image, operator, noise, seed, finer
        self._precise = operator if finer == 1 else _finer(operator, finer)
        self.name, self._taken = name, Counter[int]()

    def clean(self, index: Tensor) -> Tensor:
        """Noiseless measurements of some designs, (n, *block)."""
        image, r = self.image.to(self.operator.device)[None], self.finer
        if r == 1:
            return self.operator[index].forward(image)[0]
        fine, coarse = self._precise[index], self.operator.block_shape
        for axis, (own, finer) in enumerate(zip(self.operator.image_shape, fine.image_shape, strict=True), 1):
            image = image.repeat_interleave(finer // own, axis)
        seen = fine.forward(image)[0]
        for axis, own in enumerate(coarse, 1):
            seen = seen.unflatten(axis, (own, -1)).mean(axis + 1)
        return seen / r

    def __call__(self, design: int) -> Tensor:
        clean, again = self.clean(torch.tensor([design]))[0], self._taken[design]
        self._taken[design] += 1

        def noisy(part: Tensor, name: str) -> Tensor:
            return self.noise.sample(part, rng=stream(self.seed, "noise", name, design, again))

        if isinstance(self.name, str):
            return noisy(clean, self.name)
        return torch.stack([noisy(row, name) for row, name in zip(clean, self.name, strict=True)])


def _finer(operator: Operator, times: int) -> Operator:
    """The same rays on a finer grid; raises where they are no projections."""
    if isinstance(operator, Stack):
        return Stack(_finer(operator.operator, times), operator.slices)
    if not isinstance(operator, Projector):
        raise ValueError(
            f"a grid {times} times finer was asked for, but only projections have one; expected 1"
        )
    return operator.finer(times)
