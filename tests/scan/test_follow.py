"""What a scan ends with."""

import torch

from tomopilot.design.policy import InOrder
from tomopilot.experiment import Experiment
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.scan.follow import final
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan


def test_of_a_volume_after_an_alarm(rng):
    """Each scout without the prior, and what the data say against each."""
    radon, volume = Radon(16, half_turn(4)), torch.rand(1, 2, 16, 16, generator=rng)
    stack, noise = Stack(radon, 2), Gaussian(0.1)
    experiment = Experiment(stack, noise, Slicewise(FilteredBackProjection()), InOrder([0]))
    alone = Experiment(radon, noise, FilteredBackProjection(), InOrder([0]))
    for design, frame in enumerate(stack.forward(volume)[0]):
        experiment.tell(design, frame)
        alone.tell(design, frame[1])
    plan = Plan(("volume:phantom:chip@16::0-1",), (Method("fbp", "uniform", None),))
    ended = final(plan, experiment, alarmed=True)
    assert ended["guess"].shape == ended["disagreement"].shape == (2, 16, 16)
    assert ended["images"].shape == (1, 2, 16, 16)
    bare = TotalVariation().sample(alone.data, 1, rng=rng).guess
    assert torch.equal(ended["without_prior"][1], bare)
    assert "without_prior" not in final(plan, experiment, alarmed=False)
