"""The durable scan: what was told is told again, whatever the hardware did."""

import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder
from tomopilot.experiment import Experiment
from tomopilot.files.archive import Archive
from tomopilot.measure.noise import Gaussian, Masked, Poisson
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.denoiser import GaussianPrior
from tomopilot.prior.schedule import logarithmic
from tomopilot.scan.recorded import Recorded

SIZE, NOISE = 8, Gaussian(0.1)
OPERATOR = Radon(SIZE, half_turn(9))


def scan(path, batch=1, start=1, refresh=None) -> Recorded:
    prior = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))
    levels = logarithmic(2.5, 0.05, 5)
    posterior = DiffusionPosterior(
        prior, Prox(), levels, warm=levels[-3:] if refresh else None, refresh=refresh or 1
    )
    policy = Greedy(variance, InOrder([0, 4]), start, batch)
    experiment = Experiment(OPERATOR, NOISE, posterior, policy, count=3)
    return Recorded(experiment, Archive(path), "scan")


def test_settings_and_noise_of_each_measurement_are_recorded(tmp_path, rng):
    truth, straight = torch.rand(SIZE, SIZE, generator=rng), scan(tmp_path / "run.db")
    for noise, off in ((None, 0.0), (Gaussian(0.3), 0.02), (Masked(Poisson(1e5, 0.01), (2, 3)), -0.013)):
        design = straight.suggest()
        setting = OPERATOR.settings[design].item() + off
        values = OPERATOR.at([setting]).forward(truth[None])[0, 0]
        straight.tell(design, values, noise, setting if off else None)
    resumed = scan(tmp_path / "run.db")
    assert resumed.experiment.told[-1].setting == straight.experiment.told[-1].setting
    ours, theirs = (one.experiment.data for one in (resumed, straight))
    assert [part.noise for part in ours.observations] == [part.noise for part in theirs.observations]
    image = torch.rand(1, SIZE, SIZE, generator=rng)
    assert torch.equal(ours.gradient(image), theirs.gradient(image))
    assert resumed.suggest() == straight.suggest()
    assert resumed.state() == straight.state()


def test_what_cannot_be_recorded_is_not_told(tmp_path):
    class Strange(Gaussian):
        """A noise that no record knows."""

    recorded = scan(tmp_path / "run.db")
    with pytest.raises(ValueError, match=r"Strange.*cannot be recorded"):
        recorded.tell(0, torch.zeros(SIZE), Strange(0.1))
    assert recorded.experiment.count_told == 0 and scan(tmp_path / "run.db").experiment.count_told == 0


def test_a_design_that_failed_is_free_again(tmp_path):
    recorded = scan(tmp_path / "run.db")
    design = recorded.suggest()
    assert recorded.state() == {"measured": [], "pending": [design], "next": None}
    recorded.fail(design)
    assert recorded.suggest() == design


@pytest.mark.parametrize("unjudged", [False, True])
@pytest.mark.parametrize("stopped", [1, 2, 3, 4, 5, 6])
def test_a_batch_is_resumed_wherever_it_was_stopped(stopped, unjudged, tmp_path, rng):
    """Also between two designs that the same samples chose, samples that start from those before."""
    truth = torch.rand(1, SIZE, SIZE, generator=rng)
    values = OPERATOR.forward(truth)[0]

    def go_on(recorded, until):
        while recorded.experiment.count_told < until:
            step = recorded.step(lambda design: values[design], lambda _: False)
            told = recorded.experiment.told[-1]
            recorded.keep({"count": step.count, "surprise": told.surprise, "moves": told.moves})
        return recorded.experiment

    whole = go_on(scan(tmp_path / "whole.db", batch=3, refresh=9), 8)
    half = scan(tmp_path / "half.db", batch=3, refresh=9)
    go_on(half, stopped)
    if unjudged:
        design = half.suggest()
        half.tell(design, values[design])
    resumed = scan(tmp_path / "half.db", batch=3, refresh=9)
    if unjudged:
        resumed.experiment.step()
        told = resumed.experiment.told[-1]
        resumed.keep({"count": stopped + 1, "surprise": told.surprise, "moves": told.moves})
    go_on(resumed, 8)
    assert resumed.experiment.told == whole.told
    assert torch.equal(resumed.experiment.choosing().images, whole.choosing().images)
