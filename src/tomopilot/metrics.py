"""Image quality against the truth: over the whole square, no mask, no clipping."""

import math

from jaxtyping import Float
from torch import Tensor


def rmse(image: Float[Tensor, "*z h w"], truth: Float[Tensor, "*z h w"]) -> float:
    """Root of the mean squared difference, in image units."""
    return (image - truth).double().square().mean().sqrt().item()


def psnr(image: Float[Tensor, "*z h w"], truth: Float[Tensor, "*z h w"], peak: float = 1.0) -> float:
    """10 log10(peak^2 / mean squared error) in dB; `peak` is the prior's intensity range."""
    return psnr_at(rmse(image, truth), peak)


def psnr_at(rmse: float, peak: float = 1.0) -> float:
    """The PSNR in dB of a root mean squared error in image units."""
    return math.inf if rmse == 0 else 20 * math.log10(peak / rmse)


def rmse_at(psnr: float, peak: float = 1.0) -> float:
    """The root mean squared error of a PSNR in dB, in image units."""
    return peak * 10 ** (-psnr / 20)


def ssim(image: Float[Tensor, "h w"], truth: Float[Tensor, "h w"], peak: float = 1.0) -> float:
    """Structural similarity by scikit-image, 7 x 7 window; `peak` is the prior's intensity range."""
    from skimage.metrics import structural_similarity

    arrays = (truth.cpu().numpy(), image.cpu().numpy())
    return float(structural_similarity(*arrays, win_size=7, data_range=peak))  # pyright: ignore[reportArgumentType]
