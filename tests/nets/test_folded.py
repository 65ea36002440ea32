import pytest
import torch
import torch.nn.functional as F

from tomopilot.nets.folded import Norm


@pytest.mark.parametrize("side", [4, 16])
def test_a_norm_is_torch_s_both_ways(rng, side):
    """On either side of where the detour begins."""
    norm = Norm(4, 12).double()
    x, gradient = torch.randn(2, 3, 12, side, side, generator=rng, dtype=torch.float64)
    found = []
    for apply in (norm, lambda x: F.group_norm(x, 4, norm.weight, norm.bias)):
        start = x.to(memory_format=torch.channels_last).requires_grad_()
        out = apply(start)
        found.append((out.detach(), *torch.autograd.grad(out, start, gradient)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
