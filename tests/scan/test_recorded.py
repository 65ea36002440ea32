"""The durable scan: what was told is told again, whatever the hardware did."""

import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder
from tomopilot.experiment import Experiment
from tomopilot.files.archive import Archive
from tomopilot.measure.noise import Gaussian, Masked, Poisson
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Scouts, Stack
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.denoiser import GaussianPrior
from tomopilot.prior.schedule import logarithmic
from tomopilot.scan.judge import in_numbers
from tomopilot.scan.recorded import Recorded

SIZE, NOISE = 8, Gaussian(0.1)
OPERATOR = Radon(SIZE, half_turn(9))


def posterior(refresh=None) -> DiffusionPosterior:
    prior = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))
    levels = logarithmic(2.5, 0.05, 5)
    return DiffusionPosterior(
        prior, Prox(), levels, warm=levels[-3:] if refresh else None, refresh=refresh or 1
    )


def scan(path, batch=1, start=1, refresh=None) -> Recorded:
    policy = Greedy(variance, InOrder([0, 4]), start, batch)
    experiment = Experiment(OPERATOR, NOISE, posterior(refresh), policy, count=3)
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


def go_on(recorded, truth, until):
    """Measures, and keeps the row of each measurement, up to a number of them."""
    values = OPERATOR.forward(truth)[0]
    while recorded.experiment.count_told < until:
        recorded.step(lambda design: values[design], lambda _: False)
        keep(recorded)
    return recorded.experiment


def keep(recorded):
    told = recorded.experiment.told[-1]
    count = recorded.experiment.count_told
    apart = in_numbers(told.deviations)
    recorded.keep({"count": count, "surprise": told.surprise, "moves": told.moves, "deviations": apart})


def test_a_batch_is_resumed_wherever_it_was_stopped(tmp_path):
    """Also between two designs that the same samples chose, and with samples that start from earlier ones."""
    truth = torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    whole = go_on(scan(tmp_path / "whole.db", batch=3, refresh=9), truth, 7)
    assert [one.surprise is not None for one in whole.told] == [False, *[True] * 6]
    for stopped, unjudged in ((2, False), (3, True), (5, False), (5, True)):
        path = tmp_path / f"{stopped}{unjudged}.db"
        half = scan(path, batch=3, refresh=9)
        go_on(half, truth, stopped)
        if unjudged:
            design = half.suggest()
            half.tell(design, OPERATOR.forward(truth)[0, design])
        resumed = scan(path, batch=3, refresh=9)
        if resumed.unjudged:
            resumed.experiment.step()
            keep(resumed)
        assert go_on(resumed, truth, 7).told == whole.told
        pairs = zip(resumed.experiment.told[1:], whole.told[1:], strict=True)
        assert all(torch.equal(one.deviations, other.deviations) for one, other in pairs)
        assert resumed.experiment.decide().design == whole.decide().design


def test_scouts_choose_and_the_whole_frame_is_recorded(tmp_path, rng):
    """What the other slices measured changes no choice, but is checked and kept."""
    whole = Stack(OPERATOR, 4)
    scouts, volume = Scouts(whole, (1, 3)), torch.rand(1, 4, SIZE, SIZE, generator=rng)

    def begun() -> Recorded:
        experiment = Experiment(
            scouts.operator,
            NOISE,
            Slicewise(posterior(), scouts.numbers),
            Greedy(variance, InOrder([0])),
            count=3,
        )
        return Recorded(experiment, Archive(tmp_path / "run.db"), "scan", scouts)

    recorded = begun()
    for _ in range(3):
        design = recorded.suggest()
        recorded.tell(design, whole.forward(volume)[0, design])
    blocks = recorded.archive.blocks("scan")
    assert all(torch.equal(block.values, whole.forward(volume)[0, block.design]) for block in blocks)
    seen = torch.stack([block.values[[1, 3]] for block in sorted(blocks, key=lambda block: block.design)])
    assert torch.equal(recorded.experiment.data.observations[0].values, seen)
    again = begun()
    assert again.experiment.designs == recorded.experiment.designs
    assert again.suggest() == recorded.suggest()
    frame = whole.forward(volume)[0, 0]
    frame[2, 5] = torch.nan  # not of a scout
    with pytest.raises(ValueError, match="1 of 32 values of design 0 are NaN"):
        recorded.tell(0, frame)
    with pytest.raises(ValueError, match=r"shape \(2, 8\).*reads \(4, 8\)"):
        recorded.tell(0, frame[[1, 3]])
