import math

import pytest
import torch
from torch.testing import assert_close

from tomopilot.design.policy import InOrder
from tomopilot.experiment import Experiment
from tomopilot.measure import projector, radon
from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.laminography import Laminography
from tomopilot.measure.lowres import LowRes
from tomopilot.measure.noise import Gaussian, Poisson
from tomopilot.measure.operator import Operator
from tomopilot.measure.projector import Projector
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import TotalVariation
from tomopilot.records import Observation
from tomopilot.testing import Rays, check_operator, check_projector


def chunked(size: int, angles: torch.Tensor, *, kept: bool) -> Radon:
    """Projects two angles at a time, as large images do, and makes its matrices anew where none is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projector, "CHUNK", 2 * 2 * size * size)
        if not kept:
            patch.setattr(projector, "KEPT", 0)
        small = Radon(size, angles)
        assert small.keeps == kept and max(len(block.folded.steps) for block in small.parts) == 2
    return small


def in_parts(operator: Projector) -> Projector:
    """Makes its matrices anew, one for each angle, whenever they are used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projector, "CHUNK", operator.per_angle)
        patch.setattr(projector, "KEPT", 0)
        assert not operator.keeps and len(operator.parts) == len(operator)
    return operator


def sharing(size: int, angles: torch.Tensor) -> Radon:
    """Mirrored angles share their weights, as they do in large images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(radon, "FEW", 0)
        small = Radon(size, angles)
        assert len(small._layout.blocks[0].views) > 1 or len(angles.unique()) < len(angles)
    return small


OPERATORS: list[Operator] = [
    Radon(8, half_turn(6)),
    Radon(9, half_turn(5), bins=7),
    Radon(8, half_turn(7), bins=16),  # wider than the diagonal
    Radon(8, torch.tensor([0.3])),
    Radon(8, torch.tensor([-4.0, 0.0, 0.1, math.pi / 4, math.pi / 2, 3 * math.pi / 4, math.pi, 9.0])),
    Radon(8, half_turn(6).double()),
    Radon(2, half_turn(3), bins=1),
    Radon(8, half_turn(6), bins=9, offset=1.3),
    Radon(8, half_turn(16), offset=-2.0),
    sharing(8, half_turn(16)),
    sharing(9, torch.tensor([0.0, 0.0, 5.0, 5.0, 5.0])),  # the same more than once
    chunked(8, half_turn(7), kept=True),
    chunked(8, half_turn(7), kept=False),
    Fan(8, full_turn(7), source=12.0, detector=20.0),
    Fan(9, full_turn(4), bins=7, source=8.0, detector=8.0, curved=True, offset=-1.3),
    Fan(8, torch.tensor([-2.0, 0.3, 4.0]), bins=30, source=7.0, detector=30.0, pitch=0.5, offset=40.0),
    in_parts(Fan(8, full_turn(3), source=12.0, detector=20.0)),
    Laminography((3, 8, 8), full_turn(5), tilt=math.radians(61)),
    Laminography((5, 6, 8), full_turn(3), (4, 9), tilt=math.radians(20), offset=0.7),
    in_parts(Laminography((1, 8, 8), full_turn(3), tilt=math.pi / 2)),
    LowRes(8, 4),
    LowRes(6, 6),
    LowRes(9, 1),
    Fourier((8, 8)),
    Fourier((7, 8)),
    Fourier((8, 5), torch.tensor([4, 0, 7])),
    Fourier((1, 3)),
    Stack(Radon(8, half_turn(6)), 3),
    Stack(Radon(8, half_turn(5), bins=9), 1),
    Stack(Fourier((6, 5)), 2),
    Stack(LowRes(8, 4), 2),
]
every = pytest.mark.parametrize("operator", OPERATORS, ids=repr)


NOBODY = TotalVariation()  # asked for no image
KINDS = {
    "numpy": lambda x: x.numpy(),
    "double numpy": lambda x: x.numpy().astype("f8" if not x.is_complex() else "c16"),
    "list": lambda x: x.tolist(),
    "float16": lambda x: x if x.is_complex() else x.half(),
    "bfloat16": lambda x: x if x.is_complex() else x.bfloat16(),
    "counts": lambda x: x if x.is_complex() else x.int(),
}


@every
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_numbers_of_any_kind_are_as_single_precision(operator, kind, rng):
    """Small whole numbers, which every kind holds exactly."""
    x = torch.randint(-4, 5, (2, *operator.image_shape), generator=rng).float()
    y = torch.randint(-4, 5, operator.forward(x).shape, generator=rng).to(operator.forward(x))
    image = torch.rand(1, *operator.image_shape, generator=rng)
    assert_close(operator.forward(kind(x)), operator.forward(x), rtol=0, atol=0)
    assert_close(operator.adjoint(kind(y)), operator.adjoint(y), rtol=0, atol=0)
    for noise in (Gaussian(0.003), Gaussian(), *([] if y.is_complex() else [Poisson(1e5, 0.01)])):
        settings = operator.settings
        ours, theirs = (
            Observation(operator, settings, kind(y[0]), noise),
            Observation(operator, settings, y[0], noise),
        )
        assert_close(ours.gradient(image), theirs.gradient(image), rtol=0, atol=0)
        told = [Experiment(operator, noise, NOBODY, InOrder([0])) for _ in range(2)]
        for experiment, block in zip(told, (kind(y[0, 0]), y[0, 0]), strict=True):
            experiment.tell(0, block)
        ours, theirs = (experiment.data for experiment in told)
        assert_close(ours.gradient(image), theirs.gradient(image), rtol=0, atol=0)
        assert ours.lipschitz == theirs.lipschitz


@every
@pytest.mark.parametrize("wrong", [["a"], [[0.0], [1.0, 2.0]], [None]], ids=repr)
def test_what_is_no_number_is_rejected(operator, wrong):
    with pytest.raises(ValueError):
        operator.forward(wrong)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_laws(operator, dtype, rng):
    check_operator(operator, rng=rng, dtype=dtype)


def rays_of(operator: Radon | Fan) -> Rays:
    """Of parallel beam, the distance of every bin along the detector, which is the normal."""
    if isinstance(operator, Fan):
        return operator.rays
    bins = torch.arange(operator.bins) - (operator.bins - 1) / 2 - operator.offset
    return lambda angles: (angles[:, None], bins)


PROJECTORS: list[Radon | Fan] = [
    Radon(32, half_turn(12)),
    Radon(33, half_turn(12), bins=50),
    Radon(32, half_turn(12), offset=1.25),
    Radon(32, torch.tensor([-2.0, 0.3, 4.0])),
    sharing(32, half_turn(16)),
    Fan(32, full_turn(12), source=60.0, detector=90.0),
    Fan(32, full_turn(12), 50, source=40.0, detector=90.0, pitch=2.5, curved=True),
    Fan(32, torch.tensor([-2.0, 0.3, 4.0]), 40, source=60.0, detector=60.0, offset=1.25),
    Fan(32, full_turn(9), 40, source=60.0, detector=90.0, curved=True, offset=-6.0),
]


@pytest.mark.parametrize("operator", PROJECTORS, ids=repr)
def test_projections_of_a_disc(operator):
    check_projector(operator, rays_of(operator))


@every
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch.func.jvp itself
def test_works_under_torch_func(operator, rng):
    """The derivative is the operator, its transpose the adjoint; and a batch of batches is many batches."""
    x, v = torch.randn(2, 3, *operator.image_shape, generator=rng)
    y = operator.forward(x)
    w = torch.randn(y.shape, generator=rng, dtype=y.dtype)
    out, pull = torch.func.vjp(operator.forward, x)[:2]
    assert_close(out, y)
    assert_close(pull(w)[0], operator.adjoint(w))
    assert_close(torch.func.jvp(operator.forward, (x,), (v,)), (y, operator.forward(v)))
    assert_close(torch.func.jvp(operator.adjoint, (y,), (w,)), (operator.adjoint(y), operator.adjoint(w)))
    assert_close(torch.vmap(operator.forward)(torch.stack([x, v])), torch.stack([y, operator.forward(v)]))
    assert_close(torch.vmap(operator.forward, 1, 1)(x[:, None]), y[:, None])
    assert_close(
        torch.vmap(operator.adjoint)(torch.stack([y, w])), torch.stack([*map(operator.adjoint, (y, w))])
    )
    curvature = torch.func.jvp(
        torch.func.grad(lambda x: operator.forward(x).abs().square().sum()), (x,), (v,)
    )
    assert_close(curvature[1], 2 * operator.adjoint(operator.forward(v)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept", [True, False])
def test_chunks_change_nothing(kept, rng):
    parts, whole = chunked(8, half_turn(7), kept=kept), Radon(8, half_turn(7))
    assert len(parts._layout.blocks) == (4 if kept else 2) and len(whole._layout.blocks) == 1
    x = torch.randn(2, 8, 8, generator=rng)
    y = whole.forward(x)
    torch.testing.assert_close(parts.forward(x), y)
    torch.testing.assert_close(parts.adjoint(y), whole.adjoint(y))
    assert bool(parts._stored) == kept


def test_sharing_changes_nothing(rng):
    shared, alone = sharing(8, half_turn(16)), Radon(8, half_turn(16))
    assert len(alone._layout.blocks[0].views) == 1
    x = torch.randn(5, 8, 8, generator=rng)
    y = alone.forward(x)
    torch.testing.assert_close(shared.forward(x), y)
    torch.testing.assert_close(shared.adjoint(y), alone.adjoint(y))


@every
def test_works_under_no_grad(operator, rng):
    with torch.no_grad():
        check_operator(operator, rng=rng)


@pytest.mark.gpu
@every
def test_gpu(operator, rng):
    moved = operator.to("cuda")
    check_operator(moved, rng=rng)
    x = torch.randn(1, *operator.image_shape, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(moved.forward(x.cuda()).cpu(), operator.forward(x))
