"""Low-rank updates: nothing changes at first, few weights are trained, and they merge into the network."""

from copy import deepcopy

import pytest
import torch

from tomopilot.nets.build import build_network
from tomopilot.nets.low_rank import add_low_rank, merged, take_weights

SETTINGS = {
    "unet": {"fold": 2, "widths": [8, 16], "blocks": [1, 2], "heads": 2},
    "folded": {"fold": 2, "widths": [8, 8], "layers": 1, "groups": 4},
}


@pytest.fixture(params=SETTINGS)
def networks(request):
    """A network, and the same one with updates of rank 2; its output is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = build_network(SETTINGS[request.param])
        with torch.no_grad():
            for value in plain.parameters():
                value.add_(0.1 * torch.randn(value.shape))
        adapted = deepcopy(plain)
        add_low_rank(adapted, 2)
    return plain, adapted


def outputs(network):
    x = torch.linspace(-1, 1, 2 * 16 * 16).reshape(2, 16, 16)
    return network(x, torch.tensor([3.0, 700.0]))


def disturb(network):
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.copy_(0.3 * torch.randn(value.shape, generator=rng))


def test_at_first_nothing_changes(networks):
    plain, adapted = networks
    torch.testing.assert_close(outputs(adapted), outputs(plain))
    assert merged(adapted).keys() == dict(plain.named_parameters()).keys()


def test_an_ordinary_network_is_merged_as_it_is(networks):
    plain, _ = networks
    assert all(value is merged(plain)[name] for name, value in plain.named_parameters())


def test_merged_weights_compute_the_same(networks):
    plain, adapted = networks
    disturb(adapted)
    assert (outputs(adapted) - outputs(plain)).abs().max() > 0.01
    plain.load_state_dict({**plain.state_dict(), **{k: v.detach() for k, v in merged(adapted).items()}})
    torch.testing.assert_close(outputs(adapted), outputs(plain), rtol=1e-4, atol=1e-5)


def test_updates_are_of_the_rank_and_of_convolutions_alone(networks):
    plain, adapted = networks
    disturb(adapted)
    changed = 0
    for name, before in plain.named_parameters():
        change = (merged(adapted)[name] - before).detach()
        if change.any():
            assert torch.linalg.matrix_rank(change.flatten(1)) <= 2, name
            changed += 1
    assert changed >= 10
    few = sum(value.numel() for value in adapted.parameters() if value.requires_grad)
    assert few < sum(value.numel() for value in plain.parameters()) / 2


def test_weights_of_an_ordinary_network_are_taken(networks):
    plain, adapted = networks
    other = {name: value + 1 for name, value in plain.state_dict().items()}
    take_weights(adapted, other)
    for name, value in merged(adapted).items():
        torch.testing.assert_close(value, other[name])
    with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected"):
        take_weights(adapted, {**other, "nowhere.weight": torch.zeros(1)})
