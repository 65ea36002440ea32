"""The linearised deep image prior: its algebra against dense matrices and the exact Gaussian posterior."""

import math
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.nets.dip import DeepImagePrior
from tomopilot.posterior.laplace import Laplace, linearised
from tomopilot.posterior.linear import LinearModel, Whitened, solve
from tomopilot.records import Data
from tomopilot.scan.parts import Method, make
from tomopilot.testing import Twin, twin

SIZE, NOISE = 12, Gaussian(0.1)
RADON = Radon(SIZE, half_turn(5))
EXACT = {"steps": 200, "rank": 1000}  # of `solve`: to rounding
TINY = Laplace(steps=30, again=3, width=2, climbs=1, probes=2, solves=10, rank=10)


@lru_cache
def known() -> Twin:
    return twin(RADON, NOISE, rng=torch.Generator().manual_seed(1))


def of_prior(exact: Twin) -> LinearModel:
    """The twin's prior as the linearisation of a linear network, mean + W w, at some weights."""
    root = torch.linalg.cholesky(exact.prior.covariance.double()).float()
    pixels = len(root)

    def network(weights: Tensor) -> Tensor:
        return exact.prior.mean + (weights @ root.T).unflatten(1, (SIZE, SIZE))

    at = torch.randn(1, pixels, generator=torch.Generator().manual_seed(2))
    return linearised(network, at, torch.zeros(pixels, dtype=torch.long), torch.ones(1))


@pytest.mark.parametrize("rank", [1, 30, 10**6])
def test_a_linear_network_has_the_exact_mean(rank, rng):
    exact = known()
    found = solve(of_prior(exact), exact.data, 1, steps=200, rank=rank, rng=rng).mean.double()
    off = (found - exact.mean).norm() / exact.mean.norm()
    assert off < 1e-3, off
    assert (of_prior(exact).offset - exact.mean).norm() > 0.1 * exact.mean.norm()  # the data had a say


def test_a_linear_network_has_the_exact_variance(rng):
    exact, count = known(), 400
    found = solve(of_prior(exact), exact.data, count, **EXACT, rng=rng)
    total = found.deviations.double().square().flatten(1).sum(1).mean() / exact.covariance.trace()
    values = torch.linalg.eigvalsh(exact.covariance)
    error = (2 * values.square().sum() / count).sqrt() / values.sum()  # standard error of a mean of squares
    assert abs(total - 1) < 3 * error < 0.1, (total, error)


def test_deviations_have_the_exact_covariance(rng):
    exact = known()
    found = solve(of_prior(exact), exact.data, 400, **EXACT, rng=rng).deviations.double().flatten(1)
    for direction in torch.linalg.eigh(exact.covariance).eigenvectors.T[[-1, -2, -20]]:
        ratio = (found @ direction).square().mean() / (direction @ exact.covariance @ direction)
        assert abs(ratio - 1) < 4 * math.sqrt(2 / 400), ratio


def net() -> tuple[DeepImagePrior, Tensor, Tensor]:
    made, rng = DeepImagePrior((SIZE, SIZE), 0.3, 3), torch.Generator().manual_seed(3)
    return made, made.start(1, rng=rng), torch.rand(SIZE, SIZE, generator=rng)


def test_the_linear_model_is_the_derivative_of_the_network():
    made, at, seen = net()
    model = linearised(lambda w: made(w, seen), at, made.block, torch.ones(len(made.sizes)))
    jacobian = torch.func.jacrev(lambda w: made(w[None], seen)[0].flatten())(at[0])
    direction = torch.randn(at.shape[1], generator=torch.Generator().manual_seed(4))
    assert_close(model.push(direction).flatten(), jacobian @ direction, rtol=1e-4, atol=1e-5)
    image = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    assert_close(model.pull(image), jacobian.T @ image.flatten(), rtol=1e-4, atol=1e-4)
    assert_close(model.offset + model.push(at[0]), made(at, seen)[0], rtol=1e-4, atol=1e-5)


BLOCKS, TRUE = torch.arange(144) // 72, torch.tensor([4.0, 0.25])


def synthetic(seed: int) -> tuple[Data, LinearModel, Tensor]:
    """Data of an image with two kinds of weights, pixels above and below, whose variances are known."""
    rng = torch.Generator().manual_seed(seed)
    radon, noise = Radon(SIZE, half_turn(40)), Gaussian(0.05)
    image = (TRUE[BLOCKS].sqrt() * torch.randn(144, generator=rng)).reshape(SIZE, SIZE)
    values, data = noise.sample(radon.forward(image[None])[0], rng=rng), Data((SIZE, SIZE))
    for design, block in enumerate(values):
        data = data.add(radon, design, block, noise)
    model = LinearModel(
        torch.zeros(SIZE, SIZE), lambda w: w.reshape(SIZE, SIZE), torch.flatten, BLOCKS, torch.ones(2)
    )
    basis = torch.eye(144).reshape(144, SIZE, SIZE)
    return data, model, Whitened(data).forward(basis).T.double()


def log_likelihood(data: Data, matrix: Tensor, variances: Tensor) -> float:
    """log p(y), up to a constant, by dense matrices."""
    y = Whitened(data).values(matrix)
    covariance = matrix * variances.double()[BLOCKS] @ matrix.T + torch.eye(len(y), dtype=torch.float64)
    return -(torch.logdet(covariance) + y @ torch.linalg.solve(covariance, y)).item() / 2


def test_variances_climb_to_those_of_the_data(rng):
    data, model, matrix = synthetic(0)
    likelihoods = [log_likelihood(data, matrix, model.variances)]
    for _ in range(8):
        model = solve(model, data, 50, **EXACT, rng=rng).improved(model)
        likelihoods.append(log_likelihood(data, matrix, model.variances))
    assert all(b > a for a, b in pairwise(likelihoods[:5])), likelihoods
    assert likelihoods[-1] > max(likelihoods) - 0.5
    assert likelihoods[-1] > log_likelihood(data, matrix, TRUE) - 0.5  # as likely as the truth, or more
    assert bool(((model.variances / TRUE).log().abs() < 4 * math.sqrt(2 / 72)).all()), model.variances


def test_masked_bins_change_nothing(rng):
    exact, dead = known(), Masked(NOISE, (0, 5))
    draws = []
    for broken in (0.0, 1e4, float("nan")):
        data = Data((SIZE, SIZE))
        for design, block in enumerate(exact.data.observations[0].values):
            spoilt = block.clone()
            spoilt[[0, 5]] = broken
            data = data.add(RADON, design, spoilt, dead)
        draws.append(TINY.sample(data, 2, rng=torch.Generator().manual_seed(0)))
    for other in draws[1:]:
        assert_close(other.images, draws[0].images, rtol=0, atol=0)
        assert_close(other.guess, draws[0].guess, rtol=0, atol=0)


def test_goes_on_from_what_it_carries(rng):
    """Weights that went through a file give the same bits, and fewer steps than a new network's are taken."""
    data = known().data
    first = TINY.sample(data, 2, rng=torch.Generator().manual_seed(0))
    more = data.add(RADON, 2, data.observations[0].values[2], NOISE)
    filed = replace(first, carry={name: value.clone() for name, value in first.carry.items()})
    one, two = (
        TINY.sample(more, 2, rng=torch.Generator().manual_seed(1), previous=d) for d in (first, filed)
    )
    assert_close(one.images, two.images, rtol=0, atol=0)
    still = replace(TINY, again=0).sample(more, 2, rng=torch.Generator().manual_seed(1), previous=first)
    assert still.carry["weights"].equal(first.carry["weights"])
    assert not one.carry["weights"].equal(first.carry["weights"])
    anew = replace(TINY, refit=1).sample(more, 2, rng=torch.Generator().manual_seed(1), previous=first)
    cold = TINY.sample(more, 2, rng=torch.Generator().manual_seed(1))
    assert_close(anew.images, cold.images, rtol=0, atol=0)


def test_without_data_it_is_its_prior(rng):
    draws = TINY.sample(Data((SIZE, SIZE)), 3, rng=rng)
    assert bool(draws.images.isfinite().all()) and bool((draws.images.std(0) > 0).any())


def test_data_that_are_all_masked_say_nothing(rng):
    values = known().data.observations[0].values[0]
    data = Data((SIZE, SIZE)).add(RADON, 0, values, Masked(NOISE, range(SIZE)))
    draws = TINY.sample(data, 3, rng=rng)
    assert bool(draws.images.isfinite().all()) and bool((draws.images.std(0) > 0).any())


BAD = {
    "laplace(steps=0)": "steps of laplace is 0; expected a whole number, 1 or more",
    "laplace(again=-1)": "again of laplace is -1; expected a whole number, 0 or more",
    "laplace(smooth=-1.0)": "smooth of laplace is -1.0; expected a finite number, 0 or more",
    "laplace(width=True)": "width of laplace is True; expected a whole number, 1 or more",
    "laplace(rate=1e999)": "rate of laplace is inf; expected a finite number, 0 or more",
    "laplace(depth=3)": "laplace does not accept the options",
}


@pytest.mark.parametrize(("text", "said"), BAD.items(), ids=BAD)
def test_bad_options(text, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        make(text)


def test_rows_of_k_space_are_not_for_it():
    with pytest.raises(ValueError, match="laplace is for projections only; mri takes"):
        Method("laplace", "variance", None).check("mri")
