"""What samplers and trainings ask of the network."""

import pytest
import torch

from tomopilot.nets.build import build_network
from tomopilot.nets.unet import Convolution, UNet

SMALL = {"fold": 2, "widths": [8, 16], "blocks": [1, 2], "heads": 2}
TIMES = torch.tensor([0.0, 417.5, 999.0])


def network(channels=1, rng=None):
    """A small network whose zeroes were replaced, so that every layer matters."""
    small = UNet(**SMALL, channels=channels)
    for value in small.parameters():
        value.data = 0.2 * torch.randn(value.shape, generator=rng)
    return small.requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 20)), (2, (2, 12, 4))], ids=["real", "complex"])
def test_shape_and_type_are_the_input_s(channels, shape, dtype, rng):
    x = torch.randn(3, *shape, generator=rng, dtype=dtype)
    y = network(channels, rng)(x, TIMES)
    assert (y.shape, y.dtype) == (x.shape, dtype)


def test_an_image_is_denoised_alike_in_any_batch(rng):
    small, x = network(rng=rng), torch.randn(3, 8, 8, generator=rng)
    alone = torch.cat([small(x[i : i + 1], TIMES[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(small(x, TIMES), alone)


def test_it_knows_the_time_and_the_place(rng):
    small, flat = network(rng=rng), torch.zeros(2, 16, 16)
    early, late = small(flat, TIMES[1:])
    assert not torch.allclose(early, late, atol=1e-3)
    assert not torch.allclose(early[0, 0], early[8, 8], atol=1e-3)


def test_it_begins_with_nothing(rng):
    assert not UNet(**SMALL)(torch.randn(3, 8, 8, generator=rng), TIMES).any()


def test_a_matrix_is_the_kernel_of_a_convolution(rng):
    """Rows, columns, channels, in this order: a sum over places computed by hand."""
    layer = Convolution(3, 4, 3)
    h = torch.randn(2, 5, 6, 3, generator=rng)
    patches = torch.nn.functional.pad(h, (0, 0, 1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    by_hand = patches.permute(0, 1, 2, 4, 5, 3).flatten(3) @ layer.weight.T
    torch.testing.assert_close(layer(h), by_hand, atol=1e-5, rtol=1e-4)


def test_products_with_the_jacobian(rng):
    """A vector times it, by autograd and functions, while no weight asks for a gradient; a difference."""
    small = network(rng=rng)
    small.compute_in(torch.float64)
    x, v, u = (torch.randn(3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(3))
    leaf = x.clone().requires_grad_()
    (back,) = torch.autograd.grad(small(leaf, TIMES), leaf, v)
    _, pull = torch.func.vjp(lambda image: small(image, TIMES), x)
    torch.testing.assert_close(back, pull(v)[0])
    pushed = (small(x + 1e-5 * u, TIMES) - small(x - 1e-5 * u, TIMES)) / 2e-5
    torch.testing.assert_close((pushed * v).sum(), (u * back).sum(), rtol=1e-4, atol=1e-6)


def test_reduced_precision_is_near_and_input_keeps_its_type(rng):
    small, x = network(rng=rng), torch.randn(3, 8, 8, generator=rng)
    exact = small(x, TIMES)
    small.compute_in(torch.bfloat16)
    assert {value.dtype for value in small.parameters()} == {torch.bfloat16}
    near = small(x, TIMES)
    assert near.dtype == torch.float32 and (near - exact).norm() < 0.05 * exact.norm()


def test_matrices_are_those_of_inner_layers():
    small = UNet(**SMALL)
    matrices = small.matrices()
    outer = {id(small.enter.weight), id(small.leave.weight)}
    assert all(m.ndim == 2 for m in matrices) and not outer & {id(m) for m in matrices}
    assert sum(m.numel() for m in matrices) > 0.6 * sum(p.numel() for p in small.parameters())


WRONG = {"blocks": [1], "widths": [8, 15], "channels": 3, "heads": 0}


@pytest.mark.parametrize("key", WRONG)
def test_settings_that_make_no_sense(key):
    with pytest.raises(ValueError, match="cannot be built"):
        build_network({**SMALL, key: WRONG[key]})
