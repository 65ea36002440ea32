"""The network of the first priors, read from their cards until they are trained anew."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LARGE = 16  # pixels for each channel, from which the detour of `Norm` pays


class FoldedUNet(nn.Module):
    """A convolutional U-Net on images whose `fold` x `fold` pixel blocks are channels.

    Folding makes a pixel's first convolution `fold`^2 times cheaper, which is what keeps 128 x 128 images
    usable on two CPU cores. The network is fully convolutional: it takes any size that is a multiple of
    `multiple`. `precision` is that of its arithmetic; weights, input and output stay float32. With 2
    `channels`, images are (2, h, w): the real and the imaginary part of complex ones.
    """

    def __init__(
        self,
        fold: int = 4,
        widths: Sequence[int] = (64, 96, 128),
        layers: int = 1,
        groups: int = 8,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if fold < 1 or layers < 1 or not widths or min(widths) < 1:
            raise ValueError(
                f"a network with fold {fold}, widths {list(widths)} and layers {layers} cannot be built"
            )
        if channels not in (1, 2):
            raise ValueError(
                f"a network with {channels} channels cannot be built: 1 is for real images, 2 for complex"
            )
        from diffusers.models.unets.unet_2d import UNet2DModel  # takes seconds to import

        self.fold, self.channels, self.precision = fold, channels, torch.float32
        self.multiple = fold * 2 ** (len(widths) - 1)
        self.unet = UNet2DModel(
            in_channels=channels * fold**2,
            out_channels=channels * fold**2,
            block_out_channels=tuple(widths),
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            layers_per_block=layers,
            norm_num_groups=groups,
            add_attention=False,
        ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for module in self.unet.modules():
            if isinstance(module, nn.GroupNorm):
                module.__class__ = Norm

    def forward(self, x: Float[Tensor, "b *image"], time: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        """`x` in the network's own range [-1, 1] plus noise; `time` in 0 ... 999, fractions allowed."""
        folded = F.pixel_unshuffle(x[:, None] if self.channels == 1 else x, self.fold)
        reduced = self.precision is not torch.float32
        with torch.autocast(x.device.type, self.precision if reduced else None, enabled=reduced):
            output = self.unet(folded, time).sample
        unfolded = F.pixel_shuffle(output.to(x.dtype), self.fold)
        return unfolded[:, 0] if self.channels == 1 else unfolded

    def compute_in(self, precision: torch.dtype) -> None:
        """Computes in `precision`; the weights stay as they are."""
        self.precision = precision


class Norm(nn.GroupNorm):
    """A group norm that goes back the quicker way: torch's is slow for large channels-last images."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        _, channels, high, wide = input.shape
        if input.requires_grad and high * wide >= LARGE * channels:
            plain = Laid.apply(input, torch.contiguous_format, torch.channels_last)
            return Laid.apply(super().forward(plain), torch.channels_last, torch.contiguous_format)
        return super().forward(input)


class Laid(torch.autograd.Function):
    """The same image in another memory format, and its gradient in the one before."""

    @staticmethod
    def forward(ctx, image, there, back):  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.back = back
        return image.contiguous(memory_format=there)

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient.contiguous(memory_format=ctx.back), None, None
