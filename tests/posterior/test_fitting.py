"""Draws in batches that fit: the same samples, and an end to the halving."""

import math

import pytest
import torch

from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.fitting import Fitting, out_of_memory
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.denoiser import GaussianPrior
from tomopilot.prior.schedule import logarithmic

SIZE, COUNT = 8, 7
ERRORS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]
every_error = pytest.mark.parametrize(
    "error", ERRORS, ids=lambda error: f"{type(error).__name__} {error}"[:60]
)


class Small:
    """A prior on a device that holds `most` images, and what it was asked for."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.asked = most, error, []
        self.prior = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))

    def __call__(self, x, sigma):
        self.asked.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.prior(x, sigma)


def draw(prior, guidance, data):
    rng = torch.Generator().manual_seed(3)
    posterior = DiffusionPosterior(prior, guidance, logarithmic(2.5, 0.1, 4), eta=0.5)
    return posterior.sample(data, COUNT, rng=rng).images, rng.get_state()


ALL = [(Prox(), error, most) for error in ERRORS for most in (1, 2, 3, 6)]
ALL += [(guidance, ERRORS[0], 3) for guidance in (Soft(steps=5), Hard(most=5), DPS())]


@pytest.mark.parametrize(("guidance", "error", "most"), ALL)
def test_smaller_batches_draw_the_same(guidance, error, most, three_projections):
    small = Small(most, error)
    images, state = draw(small, guidance, three_projections)
    expected, expected_state = draw(Small(COUNT, error), guidance, three_projections)
    torch.testing.assert_close(images, expected)
    assert torch.equal(state, expected_state)
    refused = [asked for asked in small.asked if asked > most]
    assert refused and refused == small.asked[: len(refused)]  # once found, the size that fits is kept
    assert len(refused) <= math.log2(COUNT)


@every_error
def test_one_image_that_does_not_fit(error, three_projections):
    small = Small(0, error)
    with pytest.raises(MemoryError, match=r"one image of 8 x 8 pixels.*cpu.*crop or bin") as caught:
        draw(small, Prox(), three_projections)
    assert caught.value.__cause__ is error
    assert small.asked == [7, 3, 1]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no"), KeyError("memory")])
@pytest.mark.parametrize("count", [1, 4])
def test_other_errors_pass_at_once(error, count):
    small = Small(0, error)
    with pytest.raises(type(error)) as caught:
        Fitting(small)(torch.zeros(count, SIZE, SIZE), torch.ones(count))
    assert caught.value is error and small.asked == [count]


def test_what_fits_is_one_call():
    small = Small(COUNT, MemoryError())
    Fitting(small)(torch.zeros(COUNT, SIZE, SIZE), torch.ones(COUNT))
    assert small.asked == [COUNT]


def test_the_cpus_own_error_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**48, dtype=torch.uint8)  # more than any address space
    assert out_of_memory(caught.value)
