"""Parts that a stranger could have got wrong: each fails the law it breaks."""

import pytest
import torch

from tomopilot.design.policy import InOrder
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.records import Decision, Draws
from tomopilot.testing import (
    check_denoiser,
    check_guidance,
    check_mean,
    check_operator,
    check_policy,
    check_posterior,
    check_projector,
    twin,
)

KNOWN = twin(Radon(16, half_turn(6)), Gaussian(0.1), rng=torch.Generator().manual_seed(1))


class Dense(Operator):
    """Any numbers as line integrals, right in every respect; adjoint, shapes and device are inherited."""

    def __init__(self, matrices=None):
        self.matrices = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(0))
        self.matrices = self.matrices if matrices is None else matrices

    image_shape = (4, 4)

    @property
    def settings(self):
        return self.matrices[:, 0, 0]

    def __getitem__(self, index):
        return type(self)(self.matrices[index.to(self.device)])

    def forward(self, x):
        return torch.einsum("ntd,bd->bnt", self.matrices.to(x), x.flatten(1))


class Curved(Dense):
    def forward(self, x):
        return super().forward(x) + 1


class WrongAdjoint(Dense):
    def adjoint(self, y):
        return 1.01 * super().adjoint(y)


class Detached(Dense):
    def adjoint(self, y):
        return super().adjoint(y).detach()


class _Once(torch.autograd.Function):
    """Doubles, but the derivative of its derivative is wrong."""

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0].detach() + gradients[0]


class RightOnce(Dense):
    def forward(self, x):
        return super().forward(_Once.apply(x))


class StaysBehind(Dense):
    def to(self, device):
        return self


class Shrinks(Dense):
    def to(self, device):
        return type(self)(self.matrices[:3].to(device))


class Reordered(Dense):
    def __getitem__(self, index):
        return type(self)(self.matrices[index.sort().values])


def test_the_right_one_is_right(rng):
    check_operator(Dense(), rng=rng)


WRONG = [Curved, WrongAdjoint, Detached, RightOnce, StaysBehind, Shrinks, Reordered]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_wrong_operators(wrong, rng):
    with pytest.raises(AssertionError):
        check_operator(wrong(), rng=rng)


RAYS = {
    "clockwise": lambda angles: (-angles[:, None], torch.arange(32) - 15.5),
    "a quarter turn off": lambda angles: (angles[:, None] + torch.pi / 2, torch.arange(32) - 15.5),
    "half a bin off": lambda angles: (angles[:, None], torch.arange(32) - 16.0),
    "magnified": lambda angles: (angles[:, None], 1.1 * (torch.arange(32) - 15.5)),
}


@pytest.mark.parametrize("geometry", RAYS)
def test_wrong_geometry(geometry):
    with pytest.raises(AssertionError, match="disc"):
        check_projector(Radon(32, half_turn(12)), RAYS[geometry])


def test_values_in_another_unit():
    class Halved(Radon):
        def forward(self, x):
            return super().forward(x) / 2

    with pytest.raises(AssertionError, match="disc"):
        check_projector(Halved(32, half_turn(12)), lambda angles: (angles[:, None], torch.arange(32) - 15.5))


def diverging(denoise, data):
    """Gradient steps a little too long."""

    def guided(x, sigma):
        clean = denoise(x, sigma)
        for _ in range(20):
            clean = clean - 2.2 / data.lipschitz * data.gradient(clean)
        return clean

    return guided


def idle(denoise, data):
    return denoise


@pytest.mark.parametrize("guidance", [diverging, idle], ids=lambda guidance: guidance.__name__)
def test_guidances_with_a_wrong_mean(guidance):
    with pytest.raises(AssertionError, match="standard deviations off"):
        check_mean(DiffusionPosterior(KNOWN.prior, guidance, ddpm(50)), KNOWN)


def drawn_together(denoise, data):
    guided = Soft(steps=3)(denoise, data) if len(data) else denoise
    return lambda x, sigma: guided(x - 0.1 * (x - x.mean(0)), sigma)


def never_free(denoise, data):
    return lambda x, sigma: 0.9 * denoise(x, sigma)


@pytest.mark.parametrize("guidance", [drawn_together, never_free], ids=lambda guidance: guidance.__name__)
def test_wrong_guidances(guidance):
    with pytest.raises(AssertionError):
        check_guidance(guidance, KNOWN)


def test_wrong_denoiser(rng):
    with pytest.raises(AssertionError):
        check_denoiser(lambda x, sigma: x - x.mean(0), KNOWN.prior.mean.expand(3, 16, 16), rng=rng)


def test_wrong_posterior():
    class Unrepeatable(DiffusionPosterior):
        def sample(self, data, count, *, rng, previous=None):
            return super().sample(data, count, rng=torch.default_generator, previous=previous)

    with pytest.raises(AssertionError):
        check_posterior(Unrepeatable(KNOWN.prior, Prox(), logarithmic(2.5, 0.02, 3)), KNOWN.data)


def test_wrong_policy(rng):
    class Repeats(InOrder):
        def choose(self, choice):
            return Decision(0)

    images = torch.rand(2, 8, 8, generator=rng)
    with pytest.raises(AssertionError):
        check_policy(Repeats([]), Radon(8, half_turn(3)), Draws(images, images[0]))
