"""What a scan ends with."""

from dataclasses import replace

import torch

from tomopilot.design.disagreement import disagreement
from tomopilot.design.policy import InOrder
from tomopilot.design.trust import Alarm, Watch
from tomopilot.experiment import Experiment, Guard
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.randomness import stream
from tomopilot.scan.follow import final


def test_of_a_volume_whose_prior_was_left(rng):
    """Each scout without the prior, then by it, and what the data say against that one."""
    radon, volume = Radon(16, half_turn(4)), torch.rand(1, 2, 16, 16, generator=rng)
    stack, noise, order = Stack(radon, 2), Gaussian(0.1), InOrder([0])
    believed, bare = Slicewise(FilteredBackProjection()), Slicewise(TotalVariation())
    guard = Guard(Watch(Alarm(0.0, -1.0)), order, bare)
    ends = []
    for worse in (1.0, 9.0):
        experiment = Experiment(stack, noise, believed, order, guard=guard)
        for design, frame in enumerate(stack.forward(volume)[0]):
            experiment.tell(design, frame)
        experiment.recall([replace(one, worse=worse) for one in experiment.told], None)
        ends.append(final(experiment))
    trusted, doubted = ends
    assert trusted["guess"].shape == trusted["disagreement"].shape == (2, 16, 16)
    assert "by_prior" not in trusted and torch.equal(doubted["by_prior"], trusted["guess"])
    assert doubted["images"].shape == (1, 2, 16, 16)
    alone = bare.sample(experiment.data, 1, rng=rng).guess
    assert torch.equal(doubted["guess"], alone) and not torch.equal(alone, trusted["guess"])
    against = disagreement(experiment.data, trusted["guess"], rng=stream(0, "disagreement"))
    assert torch.equal(doubted["disagreement"], against)
