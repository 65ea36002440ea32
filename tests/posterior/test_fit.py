"""Batched fits against dense matrices, and the parts that they are made of."""

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.nets.dip import DeepImagePrior
from tomopilot.posterior.fit import Adam, Steepest, fit, last, level, pixels, rough, total_variation
from tomopilot.records import Data

SIZE = 8
RADON, ROWS = Radon(SIZE, half_turn(30)), Fourier((SIZE, SIZE))


def data_of(operator: Operator, x: torch.Tensor, std: float = 0.1) -> Data:
    """Noiseless measurements, trusted to `std`."""
    data = Data(operator.image_shape)
    for design, block in enumerate(operator.forward(x[None])[0]):
        data = data.add(operator, design, block, Gaussian(0.0, floor=std))
    return data


OPERATORS = pytest.mark.parametrize("operator", [RADON, ROWS], ids=repr)


@OPERATORS
def test_one_batch_goes_the_way_of_dense_matrices(operator, rng):
    """x_n = x + (1 - N / L)^n (x_0 - x), N = A^T W A and x the image of least squares."""
    truth = torch.rand(operator.image_shape, generator=rng)
    data, start = data_of(operator, truth), torch.randn(2, *operator.image_shape, generator=rng)
    size = truth.numel()
    normal = data.normal(torch.eye(size).reshape(size, *truth.shape)).flatten(1).double()
    values, vectors = torch.linalg.eigh(normal)
    shrink = vectors @ torch.diag((1 - values / data.lipschitz) ** 30) @ vectors.T
    expected = truth.flatten() + (start - truth).flatten(1).double() @ shrink
    path = fit(data, pixels, start, Steepest(1.0), steps=30, batch=100, rng=rng)
    assert_close(last(path, start).flatten(1).double(), expected, rtol=0, atol=1e-4)


@OPERATORS
def test_batches_agree_in_the_end(operator, rng):
    truth = torch.rand(operator.image_shape, generator=rng)
    data, start = data_of(operator, truth), torch.zeros(1, *operator.image_shape)
    found = last(fit(data, pixels, start, Steepest(1.0), steps=300, batch=4, rng=rng), start)
    assert data.misfit(found).item() < 1e-3 * data.misfit(start).item()


def test_members_do_not_know_of_each_other(rng):
    data = data_of(RADON, torch.rand(SIZE, SIZE, generator=rng))
    net, seen = DeepImagePrior((SIZE, SIZE), 0.5, 3), rough(data)
    weights = net.start(3, rng=rng)

    def fitted(start):
        path = fit(
            data, lambda w: net(w, seen), start, Adam(1e-3), steps=5, batch=8, smooth=1.0,
            rng=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return last(path, start)

    alone = torch.cat([fitted(weights[i : i + 1]) for i in range(3)])
    assert_close(fitted(weights), alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone, weights, rtol=1e-3)


def test_a_network_fits_the_data(rng):
    data = data_of(RADON, torch.rand(SIZE, SIZE, generator=rng))
    net, seen = DeepImagePrior((SIZE, SIZE), level(rough(data)).item(), 8), rough(data)
    weights = net.start(1, rng=rng)
    path = fit(data, lambda w: net(w, seen), weights, Adam(1e-2, 200), steps=200, batch=30, rng=rng)
    found = last(path, weights)
    assert data.misfit(net(found, seen)).item() < 0.05 * data.misfit(net(weights, seen)).item()


def test_smooth_fits_are_smooth(rng):
    data = data_of(Radon(SIZE, half_turn(2)), torch.rand(SIZE, SIZE, generator=rng))
    start = torch.rand(1, SIZE, SIZE, generator=rng)

    def roughness(smooth):
        path = fit(data, pixels, start, Steepest(), steps=200, batch=8, smooth=smooth, rng=rng)
        return total_variation(last(path, start)).item()

    assert roughness(20.0) < 0.8 * roughness(0.0)


def test_adam_is_that_of_torch(rng):
    """Until the rate falls, and its slope is that of the misfit."""
    data = data_of(RADON, torch.rand(SIZE, SIZE, generator=rng))
    start = torch.rand(1, SIZE, SIZE, generator=rng)
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.01, eps=1e-12)
    for ours in fit(data, pixels, start, Adam(0.01), steps=20, batch=30, rng=rng):
        optimiser.zero_grad()
        data.misfit(theirs).sum().backward()
        optimiser.step()
        assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)


def test_the_rate_falls_in_the_last_quarter():
    rule, data = Adam(1.0, 8), Data((SIZE, SIZE))
    x, moved = torch.zeros(1), []
    for _ in range(8):
        following = rule(x, torch.ones(1), data)
        moved.append((x - following).item())
        x = following
    assert moved == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.5], abs=1e-4)


def test_total_variation_of_a_square():
    x = torch.zeros(1, 10, 10)
    x[0, 3:7, 3:7] = 1
    corners = 2 + 2**0.5  # its lower right pixel differs in both directions, from both neighbours beyond
    assert total_variation(x).item() == pytest.approx(12 + corners, rel=2e-3)


def test_nothing_measured_nothing_moves(rng):
    data, start = Data((SIZE, SIZE)), torch.rand(2, SIZE, SIZE, generator=rng)
    path = list(fit(data, pixels, start, Steepest(), steps=3, batch=8, rng=rng))
    assert len(path) == 3 and all(found.equal(start) for found in path)
    assert not rough(data).any() and level(rough(data)) == 1


@pytest.mark.parametrize(("shape", "positive"), [((SIZE, SIZE), True), ((2, 6, 10), False), ((7, 9), False)])
def test_networks_of_any_size(shape, positive, rng):
    net = DeepImagePrior(shape, 2.0, 16, positive=positive)
    weights = net.start(3, rng=rng)
    images = net(weights, torch.rand(shape, generator=rng))
    assert images.shape == (3, *shape) and weights.shape == (3, sum(net.sizes)) == (3, len(net.block))
    assert bool((images > 0).all()) == positive
    assert 0.02 < images.square().mean().sqrt() < 20
    assert_close(net(weights[1:2], torch.rand(shape, generator=rng)).shape, torch.Size((1, *shape)))
