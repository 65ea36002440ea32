"""Data consistency that knows how sure the denoiser is, and of what."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopilot.measure.solve import inner
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.records import Data

Images = Float[Tensor, "b *image"]


@dataclass(frozen=True)
class Moments:
    """The mean given data of a Gaussian with the denoiser's mean and covariance C = sigma^2 J.

    J is the Jacobian of the denoiser (Tweedie's second-order formula; Rozet et al. 2024, MMPS). The mean is
    clean + C v, where v solves (1 + H C) v = A^T W (y - A clean), H = A^T W A. It is approached along
    `prox`'s corrections of what is left to fit, two of which do what four plain residuals do; each takes one
    vector-Jacobian product of the network, about the time of an evaluation. An image is done once what is
    left is `tolerance` of what there was, in `prox`'s metric, or after `products`.

    Above sigma `below` (image units), the Jacobian of a network is not to be trusted, and `prox` takes over.
    """

    below: float = 0.26
    products: int = 2
    tolerance: float = 0.2
    prox: Prox = field(default_factory=Prox)

    def __post_init__(self) -> None:
        if self.products < 1 or not self.below > 0 or not 0 <= self.tolerance < 1:
            raise ValueError(
                f"moments below {self.below} with {self.products} products, tolerance {self.tolerance}; "
                "expected a sigma above 0, at least 1 product, and a tolerance from 0 to below 1"
            )

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        roughly = self.prox(denoise, data)

        def guided(x: Images, sigma: Float[Tensor, " b"]) -> Images:
            if sigma.max() >= self.below:
                return roughly(x, sigma)
            clean, covariance = _moments(denoise, x, sigma)
            return clean + self._shift(clean, sigma, covariance, data)

        return guided

    def _shift(
        self, clean: Images, sigma: Float[Tensor, " b"], covariance: Callable[[Images], Images], data: Data
    ) -> Images:
        """C v by conjugate directions; those before are kept, as the network's J is not quite symmetric."""
        left, shift = -data.gradient(clean), torch.zeros_like(clean)
        taken: list[tuple[Images, Images, Images, Float[Tensor, " b"]]] = []
        target = None
        for _ in range(self.products):
            direction = self.prox.correction(left, sigma, data)
            energy = inner(left, direction)
            target = self.tolerance * energy if target is None else target
            running = energy > target
            if not bool(running.any()):
                break
            moved = covariance(direction)
            product = data.normal(moved) + direction
            for earlier, earlier_moved, earlier_product, curvature in taken:
                share = _column(inner(earlier_moved, product) / curvature, clean)
                direction, moved = direction - share * earlier, moved - share * earlier_moved
                product = product - share * earlier_product
            curvature = inner(moved, product)
            step = _column(_ratio(inner(moved, left), curvature, running), clean)
            shift, left = shift + step * moved, left - step * product
            taken.append((direction, moved, product, curvature.where(curvature > 0, torch.inf)))
        return shift


def _moments(
    denoise: Denoiser, x: Images, sigma: Float[Tensor, " b"]
) -> tuple[Images, Callable[[Images], Images]]:
    """Mean and covariance, as products with images, of what a noisy image may have been."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        clean = denoise(x, sigma)
    variance = per_image(sigma.square(), x)

    def covariance(v: Images) -> Images:
        (product,) = torch.autograd.grad(clean, x, v, retain_graph=True)
        return variance * product

    return clean.detach(), covariance


def _ratio(
    above: Float[Tensor, " b"], below: Float[Tensor, " b"], where: Bool[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Quotients where asked for and where the divisor is above 0; 0 elsewhere."""
    good = where & (below > 0)
    return torch.where(good, above / below.where(good, torch.ones_like(below)), 0.0)


def _column(scalars: Float[Tensor, " b"], like: Tensor) -> Tensor:
    return scalars.reshape(-1, *[1] * (like.ndim - 1))
