"""Images of which all is known: samples, dense matrices, and a Gaussian that is measured."""

import math

import torch

from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Draws, Forecast


def forecast(operator, rng, noise=None, k=4):
    """Of every design, by random images."""
    images = torch.randn(k, *operator.image_shape, generator=rng, dtype=torch.float64)
    return Forecast.of(operator, Draws(images, images.mean(0)), noise)


def matrix(operator):
    """Every design as a dense matrix of real numbers, (n, values, pixels)."""
    pixels = torch.Size(operator.image_shape).numel()
    basis = torch.eye(pixels, dtype=torch.float64).reshape(-1, *operator.image_shape)
    seen = operator.forward(basis)
    return (torch.view_as_real(seen) if seen.is_complex() else seen).flatten(2).permute(1, 2, 0)


def covariance(samples):
    """With the 1/k of the paper's Eq. 3."""
    off = samples.flatten(1) - samples.flatten(1).mean(0)
    return off.T @ off / len(off)


def known(angles=18, taken=2, noise=0.02):
    """A Gaussian of images with a direction, two projections known: angles, covariance and its root."""
    operator = Radon(16, half_turn(angles))
    y, x = (torch.cartesian_prod(*[torch.arange(16, dtype=torch.float64)] * 2)).T
    u, v = (math.cos(0.4) * x + math.sin(0.4) * y), (math.cos(0.4) * y - math.sin(0.4) * x)
    apart = (u[:, None] - u).square() / 9 + (v[:, None] - v).square()
    c = 0.04 * torch.exp(-apart / 2) + 1e-6 * torch.eye(256, dtype=torch.float64)
    a = matrix(operator)
    for design in range(0, angles, angles // taken):
        c = measured(c, a[design], noise)
    return operator, a, c


def measured(c, a, std):
    """What is left of a covariance after a measurement with noise."""
    s = std**2 * torch.eye(len(a), dtype=torch.float64)
    return c - c @ a.T @ torch.linalg.solve(s + a @ c @ a.T, a @ c)


def samples(c, k, rng):
    """Images of a Gaussian of mean 0."""
    noise = torch.randn(k, len(c), generator=rng, dtype=torch.float64)
    return (noise @ torch.linalg.cholesky(c + 1e-9 * torch.eye(len(c), dtype=torch.float64)).T).reshape(
        k, 16, 16
    )
