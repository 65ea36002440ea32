"""The network of a deep image prior: an image as a function of the network's weights."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

NOISE = 0.1  # of the noise that the network sees beside an image of level 1
SLOPE = 0.2  # of the rectifier below 0


@dataclass(frozen=True)
class DeepImagePrior:
    """A small U-Net that draws one image (Ulyanov et al. 2018), k of them at once.

    Its weights are one vector: `net(weights, seen)` is a function from (k, p) to (k, *image).
    What it draws from is a rough image, as Barbano et al. 2022 do, and weak noise that is always the same.
    `shape` is (h, w), or (channels, h, w). Each scale has half the pixels of the one before; `skips` are the
    channels that skip the coarser scales, from the finest (Barbano et al. 2022: 0, 4, 4). `level` is the
    image value that the untrained network is around: it scales all values. Images are positive or not.
    """

    shape: tuple[int, ...]
    level: float = 1.0
    width: int = 32
    skips: tuple[int, ...] = (0, 4, 4)
    positive: bool = True

    @cached_property
    def layers(self) -> list[tuple[int, int, int]]:
        """Outputs, inputs and size of each convolution, in the order of use."""
        wide, channels = self.width, math.prod(self.shape[:-2])
        down = [(wide, wide, 3)] * len(self.skips)
        skips = [(skip, wide, 1) for skip in self.skips if skip]
        up = [(wide, wide + skip, 3) for skip in reversed(self.skips)]
        return [(wide, wide + channels, 3), *down, *skips, *up, (wide, wide, 3), (channels, wide, 1)]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of weights of each convolution, its bias among them."""
        return [out * (inputs * size**2 + 1) for out, inputs, size in self.layers]

    @cached_property
    def block(self) -> Int[Tensor, " p"]:
        """The convolution that each weight is of."""
        return torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))

    def start(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "k p"]:
        """Weights before any fit (He et al. 2015), biases 0."""
        parts = []
        for out, inputs, size in self.layers:
            fan = inputs * size**2
            spread = math.sqrt(2 / (1 + SLOPE**2) / fan)
            kernel = spread * torch.randn(count, out * fan, generator=rng)
            parts += [kernel, torch.zeros(count, out)]
        return torch.cat(parts, 1)

    def __call__(
        self, weights: Float[Tensor, "k p"], seen: Float[Tensor, "*image"]
    ) -> Float[Tensor, "k *image"]:
        count, parts = len(weights), iter(zip(self.layers, weights.split(self.sizes, 1), strict=True))

        def convolve(x: Tensor, stride: int = 1) -> Tensor:
            (out, inputs, size), part = next(parts)
            kernel = part[:, :-out].reshape(count * out, inputs, size, size)
            x = x.reshape(1, -1, *x.shape[2:])
            y = F.conv2d(x, kernel, part[:, -out:].flatten(), stride, size // 2, groups=count)
            return y.reshape(count, out, *y.shape[2:])

        def rectified(x: Tensor, stride: int = 1) -> Tensor:
            return F.leaky_relu(convolve(x, stride), SLOPE)

        rough = seen.reshape(1, -1, *self.shape[-2:]) / self.level
        given = torch.cat([rough, NOISE * self._noise.to(weights)], 1)
        x = rectified(given.expand(count, -1, -1, -1))
        finer = [x]
        for _ in self.skips:
            finer.append(rectified(finer[-1], stride=2))
        x = finer.pop()
        beside = [rectified(y) if skip else None for y, skip in zip(finer, self.skips, strict=True)]
        for y, skipped in zip(reversed(finer), reversed(beside), strict=True):
            x = F.interpolate(x, y.shape[2:])
            x = rectified(x if skipped is None else torch.cat([x, skipped], 1))
        z = convolve(rectified(x))
        x = F.softplus(z) / math.log(2) if self.positive else z
        return self.level * x.reshape(count, *self.shape)

    @cached_property
    def _noise(self) -> Float[Tensor, "1 c h w"]:
        """The same for every image of a shape."""
        shape = (1, self.width, *self.shape[-2:])
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))
