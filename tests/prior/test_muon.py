import torch
from torch import nn

from tomopilot.nets.build import fast_precision
from tomopilot.prior.muon import Muon, orthogonal


def test_directions_are_nearly_orthogonal_whatever_the_gradient(rng):
    for shape in ((3, 12, 40), (2, 40, 12)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=rng)))
        assert values.min() > 0.4 and values.max() < 1.3


def test_directions_keep_the_singular_vectors(rng):
    matrix = torch.randn(1, 6, 9, generator=rng)
    u, _, vh = torch.linalg.svd(matrix[0], full_matrices=False)
    inner = u.T @ orthogonal(matrix)[0] @ vh.T
    near = {torch.float32: 1e-4, torch.bfloat16: 0.03}[fast_precision("cpu")]  # it is computed in
    torch.testing.assert_close(inner, inner.diag().diag(), atol=near, rtol=0)


def test_matrices_of_one_shape_do_not_see_each_other(rng):
    start, gradients = torch.randn(3, 4, 5, generator=rng), torch.randn(3, 4, 5, generator=rng)

    def stepped(which):
        matrices = [nn.Parameter(start[i].clone()) for i in which]
        optimiser = Muon(matrices, 0.1)
        for _ in range(3):
            for matrix, i in zip(matrices, which, strict=True):
                matrix.grad = gradients[i]
            optimiser.step()
        return torch.stack([matrix.detach() for matrix in matrices])

    torch.testing.assert_close(stepped([0, 1, 2]), torch.cat([stepped([i]) for i in range(3)]))


def test_torch_s_muon_goes_the_same_way(rng):
    """Which orthogonalises in bfloat16, so only nearly."""
    start, gradient = torch.randn(2, 8, 5, generator=rng)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours.grad = theirs.grad = gradient
    Muon([ours], 0.1).step()
    torch.optim.Muon([theirs], lr=0.1).step()
    ours_moved, theirs_moved = (ours - start).flatten(), (theirs - start).flatten()
    assert torch.cosine_similarity(ours_moved, theirs_moved, dim=0) > 0.99
    assert (ours_moved.norm() / theirs_moved.norm() - 1).abs() < 0.05
