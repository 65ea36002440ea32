"""Every policy: a newcomer adds one line."""

import pytest
import torch

from tomopilot.design.acquisition import AOptimal, LogDet, Oracle, carried, committee, variance
from tomopilot.design.expert import Expert
from tomopilot.design.orders import golden_order, population_order
from tomopilot.design.policy import Greedy, InOrder, Policy, bisect_order, centre_order, random_order
from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Draws
from tomopilot.testing import check_policy

N = 7
POLICIES: list[Policy] = [
    InOrder(bisect_order(N)),
    InOrder(centre_order(N)),
    InOrder(random_order(N, seed=3)),
    Greedy(variance, InOrder(bisect_order(N))),
    Greedy(variance, InOrder(range(N)), start=3),
    *(
        Greedy(score, InOrder(range(N)))
        for score in (LogDet(), LogDet(0.1), committee, carried, AOptimal(), Oracle(torch.zeros(8, 8)))
    ),
    Greedy(variance, InOrder(range(N)), start=2, batch=3),
    Greedy(variance, InOrder(range(N)), batch=2, move=0.1),
    InOrder(golden_order(Radon(8, half_turn(N)))),
    InOrder(population_order(Radon(8, half_turn(N)), torch.eye(8)[:, :, None].expand(8, 8, 8), N, 0.1)),
    Expert(InOrder(bisect_order(N))),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize(
    "operator",
    [Radon(8, half_turn(N)), Fan(8, full_turn(N) ** 1.1, source=12.0, detector=20.0)],
    ids=["parallel beam", "fan beam, unevenly"],
)
def test_laws(policy, operator, rng):
    images = torch.rand(4, 8, 8, generator=rng)
    check_policy(policy, operator, Draws(images, images.mean(0)))
