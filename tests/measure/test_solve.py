import pytest
import torch

from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.solve import conjugate_gradients, inner, largest_eigenvalue

SIZE = 4


@pytest.fixture
def matrix(rng):
    root = torch.randn(SIZE**2, SIZE**2, generator=rng, dtype=torch.float64)
    return root @ root.T / SIZE**2 + 0.1 * torch.eye(SIZE**2, dtype=torch.float64)


def applied(matrix):
    return lambda x: (x.flatten(1) @ matrix).reshape(x.shape)


def random_images(count, rng):
    return torch.randn(count, SIZE, SIZE, generator=rng, dtype=torch.float64)


def test_inner_is_real_and_per_image(rng):
    x = torch.randn(3, 2, 5, generator=rng, dtype=torch.complex128)
    y = torch.randn(3, 2, 5, generator=rng, dtype=torch.complex128)
    expected = torch.stack([torch.vdot(a.flatten(), b.flatten()).real for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(inner(x, y), expected)


def test_conjugate_gradients_solve(matrix, rng):
    b, start = random_images(3, rng), random_images(3, rng)
    found = conjugate_gradients(applied(matrix), b, start, steps=60)
    torch.testing.assert_close(found.flatten(1), torch.linalg.solve(matrix, b.flatten(1).T).T)


def test_more_steps_than_needed_do_no_harm(matrix, rng):
    b = random_images(2, rng)
    found = conjugate_gradients(applied(matrix), b, torch.zeros_like(b), steps=500)
    torch.testing.assert_close(found.flatten(1), torch.linalg.solve(matrix, b.flatten(1).T).T)


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e12])
@pytest.mark.parametrize("tolerance", [0.0, 1e-2])
def test_neighbours_do_not_matter(matrix, scale, tolerance, rng):
    b = random_images(3, rng)
    scaled = b * torch.tensor([1.0, scale, 1.0], dtype=torch.float64)[:, None, None]
    alone, together = (
        conjugate_gradients(applied(matrix), part, torch.zeros_like(part), 7, tolerance)
        for part in (b[:1], scaled)
    )
    torch.testing.assert_close(together[:1], alone)


def test_start_at_the_solution_stays(matrix, rng):
    x = random_images(1, rng)
    found = conjugate_gradients(applied(matrix), applied(matrix)(x), x, steps=5)
    torch.testing.assert_close(found, x)


def test_tolerance_stops_early(matrix, rng):
    b = random_images(1, rng)
    found = conjugate_gradients(applied(matrix), b, torch.zeros_like(b), steps=100, tolerance=0.1)
    relative = (applied(matrix)(found) - b).norm() / b.norm()
    assert 1e-6 < relative <= 0.1


def test_largest_eigenvalue(matrix):
    found = largest_eigenvalue(applied(matrix), torch.zeros(1, SIZE, SIZE, dtype=torch.float64), steps=200)
    assert found == pytest.approx(torch.linalg.eigvalsh(matrix)[-1].item(), rel=1e-3)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_largest_eigenvalue_of_projections(count):
    radon = Radon(12, half_turn(count))
    basis = torch.eye(144).unflatten(1, (12, 12))
    dense = radon.forward(basis).flatten(1).double()
    found = largest_eigenvalue(lambda x: radon.adjoint(radon.forward(x)), torch.zeros(1, 12, 12))
    assert found == pytest.approx(torch.linalg.eigvalsh(dense @ dense.T)[-1].item(), rel=0.05)


def test_largest_eigenvalue_of_nothing():
    assert largest_eigenvalue(torch.zeros_like, torch.zeros(1, 3, 3)) == 0.0
