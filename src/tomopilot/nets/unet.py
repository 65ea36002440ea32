"""The network of a prior: a U-Net whose every layer is one that processors are quick at."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EMBEDDED = 128  # sines and cosines that a diffusion time is told by
SLOWEST = 10_000.0  # period of the slowest of them, in DDPM times


class UNet(nn.Module):
    """A U-Net on images whose `fold` x `fold` pixel blocks are channels.

    `blocks` are the residual blocks of each level, on the way down and up alike, once at the coarsest.
    Made for arithmetic: nearly all of it is in 3 x 3 convolutions of channels-last tensors; one norm (over
    channels), one activation and one scale-and-shift by time a block; skips are added, not concatenated;
    levels are 2 x 2 convolutions apart; attention is at the coarsest level, before its last block. Images
    are padded with zeros, so the network can tell where in an image it is. Weights are matrices
    (out, k k in), as their optimiser wants them. It takes any size that is a multiple of `multiple`; with
    2 `channels`, images are (2, h, w), real and imaginary part. It computes in `precision`; input and
    output stay as they are.
    """

    def __init__(
        self,
        fold: int = 2,
        widths: Sequence[int] = (64, 128, 256),
        blocks: Sequence[int] = (1, 2, 3),
        channels: int = 1,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if fold < 1 or not widths or len(blocks) != len(widths) or min(*widths, *blocks, heads) < 1:
            raise ValueError(
                f"a network with fold {fold}, widths {list(widths)}, blocks {list(blocks)} and {heads} heads "
                "cannot be built: there is one width and one number of blocks a level, all above 0"
            )
        if channels not in (1, 2) or widths[-1] % heads:
            raise ValueError(
                f"a network with {channels} channels, {heads} heads, widths {list(widths)} cannot be built: "
                "1 channel is for real images, 2 for complex, and heads divide the last width"
            )
        self.fold, self.channels, self.precision = fold, channels, torch.float32
        self.multiple = fold * 2 ** (len(widths) - 1)
        time, pixels = widths[-1], channels * fold**2
        self.time = nn.Sequential(nn.Linear(EMBEDDED, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.enter, self.leave = Convolution(pixels, widths[0], 3), Convolution(widths[0], pixels, 3)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(Convolution(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(Finer(coarse, fine) for fine, coarse in steps)
        *fine, coarsest = blocks
        self.descent = _levels(widths, (*fine, coarsest - 1), time)
        self.attention = Attention(widths[-1], heads)
        self.ascent = _levels(widths, (*fine, 1), time)
        self.last = nn.LayerNorm(widths[0])
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Float[Tensor, "b *image"], time: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        """`x` in the network's own range [-1, 1] plus noise; `time` in 0 ... 999, fractions allowed."""
        folded = F.pixel_unshuffle(x[:, None] if self.channels == 1 else x, self.fold)
        h = folded.permute(0, 2, 3, 1).to(self.precision)
        t = _apply(self.time, _waves(time), self.precision)
        h = self.enter(h)
        skips = []
        for level, blocks in enumerate(self.descent):
            h = blocks(h, t)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        h = self.attention(h)
        for level in reversed(range(len(self.ascent))):
            if level < len(self.up):
                h = self.up[level](h) + skips.pop()
            h = self.ascent[level](h, t)
        h = self.leave(_norm(self.last, h))
        unfolded = F.pixel_shuffle(h.permute(0, 3, 1, 2).to(x.dtype), self.fold)
        return unfolded[:, 0] if self.channels == 1 else unfolded

    def matrices(self) -> list[nn.Parameter]:
        """The weights of inner layers, for an optimiser that knows matrices."""
        inner = [*self.descent, *self.ascent, *self.down, *self.up]
        layers = [layer for part in inner for layer in part.modules()]
        return [layer.weight for layer in layers if isinstance(layer, Convolution | Finer)]

    def compute_in(self, precision: torch.dtype) -> None:
        """Keeps the weights in `precision` from now on, so that no call has to convert them."""
        self.precision = precision
        self.to(precision)


def _levels(widths: Sequence[int], counts: Sequence[int], time: int) -> nn.ModuleList:
    pairs = zip(widths, counts, strict=True)
    return nn.ModuleList(Level(Block(width, time) for _ in range(count)) for width, count in pairs)


class Level(nn.ModuleList):
    """Blocks one after the other."""

    def forward(self, h: Float[Tensor, "b h w c"], t: Float[Tensor, "b e"]) -> Float[Tensor, "b h w c"]:
        for block in self:
            h = block(h, t)
        return h


class Convolution(nn.Module):
    """A convolution of channels-last images; its weight is a matrix, a channels-last kernel in disguise."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.side, self.stride, self.inputs = side, stride, inputs
        self.weight = nn.Parameter(torch.empty(outputs, side**2 * inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=(side**2 * inputs) ** -0.5)

    def forward(self, h: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 d"]:
        weight, bias = self.weight.to(h.dtype), self.bias.to(h.dtype)
        kernel = weight.view(-1, self.side, self.side, self.inputs).permute(0, 3, 1, 2)
        padding = self.side // 2 if self.stride == 1 else 0
        return F.conv2d(h.permute(0, 3, 1, 2), kernel, bias, self.stride, padding).permute(0, 2, 3, 1)


class Finer(nn.Module):
    """A transposed 2 x 2 convolution of stride 2, as a matrix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4 * outputs, inputs))
        nn.init.normal_(self.weight, std=inputs**-0.5)

    def forward(self, h: Float[Tensor, "b h w c"]) -> Float[Tensor, "b 2h 2w d"]:
        b, high, wide, _ = h.shape
        fine = F.linear(h, self.weight.to(h.dtype)).view(b, high, wide, 2, 2, -1)
        return fine.permute(0, 1, 3, 2, 4, 5).reshape(b, 2 * high, 2 * wide, -1)


class Block(nn.Module):
    """h + conv silu conv (scale(t) norm(h) + shift(t))."""

    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(time, 2 * width)
        self.first, self.second = Convolution(width, width, 3), Convolution(width, width, 3)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        nn.init.zeros_(self.second.weight)

    def forward(self, h: Float[Tensor, "b h w c"], t: Float[Tensor, "b e"]) -> Float[Tensor, "b h w c"]:
        scale, shift = _apply(self.modulate, t, h.dtype)[:, None, None].chunk(2, -1)
        inner = torch.addcmul(shift, _norm(self.norm, h), 1 + scale)
        return h + self.second(F.silu(self.first(inner)))


class Attention(nn.Module):
    """Every place looks at every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.ask, self.answer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.answer.weight)

    def forward(self, h: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        b, high, wide, width = h.shape
        asked = _apply(self.ask, _norm(self.norm, h).reshape(b, high * wide, width), h.dtype)
        q, k, v = asked.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(h.shape)
        return h + _apply(self.answer, seen, h.dtype)


def _waves(time: Float[Tensor, " b"]) -> Float[Tensor, "b e"]:
    """Sines and cosines of a time, from short periods to long ones."""
    half = EMBEDDED // 2
    rates = torch.exp(-math.log(SLOWEST) * torch.arange(half, device=time.device) / half)
    angles = time[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


def _norm(norm: nn.LayerNorm, h: Tensor) -> Tensor:
    scale, shift = (None if part is None else part.to(h.dtype) for part in (norm.weight, norm.bias))
    return F.layer_norm(h, norm.normalized_shape, scale, shift, norm.eps)


def _apply(layers: nn.Module, h: Tensor, dtype: torch.dtype) -> Tensor:
    """Linear layers, one or several, in another precision than their weights may have."""
    h = h.to(dtype)
    for layer in layers if isinstance(layers, nn.Sequential) else (layers,):
        if isinstance(layer, nn.Linear):
            h = F.linear(h, layer.weight.to(dtype), layer.bias.to(dtype))
        else:
            h = layer(h)
    return h
