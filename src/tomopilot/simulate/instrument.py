"""A stand-in for the beamline: measures a known image."""

from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.measure.projector import Projector
from tomopilot.randomness import stream


class Simulated:
    """Measures designs of `operator` on a known image.

    Its noise depends on `seed`, `name` (of the image), the design and how often that was measured before:
    images of one study differ, repeats of one design differ, and the order of the designs does not matter.

    With `finer` above 1 the projections are computed on a grid that many times finer than the
    reconstruction's, from square pixels, and averaged over each detector bin, so that reconstruction cannot
    profit from sharing the projector (the inverse crime). It needs a `Projector`.
    """

    def __init__(
        self,
        image: Float[Tensor, "*image"],
        operator: Operator,
        noise: Noise,
        *,
        seed: int = 0,
        finer: int = 1,
        name: str = "",
    ) -> None:
        if tuple(image.shape) != operator.image_shape:
            raise ValueError(
                f"the image has shape {tuple(image.shape)}, the operator measures {operator.image_shape}: "
                "crop or rescale it"
            )
        if finer < 1 or (finer > 1 and not isinstance(operator, Projector)):
            raise ValueError(
                f"a grid {finer} times finer was asked for; expected 1 or, for projections, more"
            )
        self.image, self.operator, self.noise, self.seed, self.finer = image, operator, noise, seed, finer
        self.name, self._taken = name, Counter[int]()

    def clean(self, index: Tensor) -> Tensor:
        """Noiseless measurements of some designs, (n, *block)."""
        image, r = self.image.to(self.operator.device)[None], self.finer
        chosen = self.operator[index]
        if r == 1 or not isinstance(chosen, Projector):
            return chosen.forward(image)[0]
        for axis in range(1, image.ndim):
            image = image.repeat_interleave(r, axis)
        seen = chosen.finer(r).forward(image)[0]
        for axis in range(1, seen.ndim):
            seen = seen.unflatten(axis, (-1, r)).mean(axis + 1)
        return seen / r

    def __call__(self, design: int) -> Tensor:
        clean = self.clean(torch.tensor([design]))[0]
        rng = stream(self.seed, "noise", self.name, design, self._taken[design])
        self._taken[design] += 1
        return self.noise.sample(clean, rng=rng)
