"""Every policy: a newcomer adds one line."""

import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.expert import Expert
from tomopilot.design.policy import Greedy, Guarded, InOrder, Policy, bisect_order, centre_order, random_order
from tomopilot.design.trust import Alarm, Watch
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
    Expert(InOrder(bisect_order(N))),
    Guarded(Greedy(variance, InOrder(range(N))), InOrder(bisect_order(N)), Watch(Alarm(0.25, 2.0))),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_laws(policy, rng):
    images = torch.rand(4, 8, 8, generator=rng)
    check_policy(policy, Radon(8, half_turn(N)), Draws(images, images.mean(0)))
