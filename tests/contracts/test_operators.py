import math

import pytest
import torch

from tomopilot.measure import radon
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.testing import Rays, check_operator, check_projector


def chunked(size: int, angles: torch.Tensor, *, kept: bool) -> Radon:
    """Projects two angles at a time, as large images do, and makes its matrices anew where none is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(radon, "CHUNK", 2 * 2 * size * size)
        if not kept:
            patch.setattr(radon, "KEPT", 0)
        small = Radon(size, angles)
        assert small._keeps == kept and max(len(block.folded.steps) for block in small._layout.blocks) == 2
    return small


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
    sharing(8, half_turn(16)),
    sharing(9, torch.tensor([0.0, 0.0, 5.0, 5.0, 5.0])),  # the same more than once
    chunked(8, half_turn(7), kept=True),
    chunked(8, half_turn(7), kept=False),
    Fourier((8, 8)),
    Fourier((7, 8)),
    Fourier((8, 5), torch.tensor([4, 0, 7])),
    Fourier((1, 3)),
]
every = pytest.mark.parametrize("operator", OPERATORS, ids=repr)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_laws(operator, dtype, rng):
    check_operator(operator, rng=rng, dtype=dtype)


def parallel(radon: Radon) -> Rays:
    """The rays of every bin: its distance along the detector, which is the normal."""
    bins = torch.arange(radon.bins) - (radon.bins - 1) / 2 - radon.offset
    return lambda angles: (angles[:, None], bins)


PROJECTORS: list[Radon] = [
    Radon(32, half_turn(12)),
    Radon(33, half_turn(12), bins=50),
    Radon(32, half_turn(12), offset=1.25),
    Radon(32, torch.tensor([-2.0, 0.3, 4.0])),
    sharing(32, half_turn(16)),
]


@pytest.mark.parametrize("radon", PROJECTORS, ids=repr)
def test_projections_of_a_disc(radon):
    check_projector(radon, parallel(radon))


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
