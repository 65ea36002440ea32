"""Data that are too few, too many, without structure, or that lie: images stay finite, every scan ends."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Choice, Greedy, InOrder, bisect_order
from tomopilot.design.stopping import budget, certain
from tomopilot.design.trust import surprise
from tomopilot.experiment import Experiment, run
from tomopilot.measure.fourier import Fourier, to_complex, to_kspace
from tomopilot.measure.noise import Gaussian, Masked, Poisson
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.metrics import psnr, ssim
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation, ZeroFilled
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.denoiser import GaussianPrior
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.records import Data, Draws, Told
from tomopilot.simulate.instrument import Simulated

SIZE, DESIGNS = 8, 6
OPERATOR = Radon(SIZE, half_turn(DESIGNS))
PRIOR = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))
LEVELS, WARM = logarithmic(2.5, 0.05, 6), logarithmic(0.3, 0.05, 2)
DRAWING = {
    "soft": DiffusionPosterior(PRIOR, Soft(steps=5), ddpm(6)),
    "hard": DiffusionPosterior(PRIOR, Hard(Soft(steps=5), most=20), ddpm(6)),
    "dps": DiffusionPosterior(PRIOR, DPS(), ddpm(50), eta=0.27),
    "prox": DiffusionPosterior(PRIOR, Prox(), LEVELS),
    "moments": DiffusionPosterior(PRIOR, Moments(), LEVELS, weigh=(0.1,)),
    "scout": DiffusionPosterior(PRIOR, Prox(), LEVELS, warm=WARM, refresh=4),
}
ALL = {**DRAWING, "fbp": FilteredBackProjection(), "tv": TotalVariation(steps=30)}
EXACT, POISSON = Gaussian(0.0), Poisson(100.0, 0.1)


def measured(values, noise, count=DESIGNS) -> Experiment:
    """An experiment that was told the first `count` designs; `values` (designs, bins)."""
    experiment = Experiment(OPERATOR, noise, DRAWING["prox"], InOrder(range(DESIGNS)), count=3)
    for design in range(count):
        experiment.tell(design, values[design])
    return experiment


def drawn(posterior, data, count=3):
    draws = posterior.sample(data, count, rng=torch.Generator().manual_seed(0))
    assert bool(draws.images.isfinite().all()) and bool(draws.guess.isfinite().all())
    return draws


@pytest.mark.parametrize("name", DRAWING)
def test_nothing_measured_is_the_prior(name):
    posterior = DRAWING[name]
    alone = DiffusionPosterior(PRIOR, lambda denoise, data: denoise, posterior.sigmas, eta=posterior.eta)
    data = measured(torch.zeros(DESIGNS, SIZE), Gaussian(0.1), 0).data
    torch.testing.assert_close(drawn(posterior, data).images, drawn(alone, data).images, rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, DESIGNS])
@pytest.mark.parametrize("name", ALL)
def test_one_measurement_and_all(name, count, rng):
    truth = torch.rand(1, SIZE, SIZE, generator=rng)
    drawn(ALL[name], measured(OPERATOR.forward(truth)[0], Gaussian(0.1), count).data)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("noise", [EXACT, Gaussian(0.1), POISSON], ids=repr)
@pytest.mark.parametrize("name", ["soft", "hard", "prox", "moments", "tv"])
def test_constant_image(name, noise, value):
    truth = torch.full((1, SIZE, SIZE), value)
    data = measured(OPERATOR.forward(truth)[0], noise).data
    found = drawn(ALL[name], data).guess
    before, after = data.misfit(torch.stack([PRIOR.mean, found])).tolist()
    assert after < before or value == 0.5


WILD = torch.randn(DESIGNS, SIZE, generator=torch.Generator().manual_seed(1))
LIES = {
    "no photon": (torch.full((DESIGNS, SIZE), math.log(100.0 / 0.1) / 0.1), POISSON),
    "opaque": (torch.full((DESIGNS, SIZE), 1e6), POISSON),
    "brighter than the beam": (torch.full((DESIGNS, SIZE), -1e4), POISSON),
    "a hot bin": (torch.eye(SIZE)[0].expand(DESIGNS, SIZE) * 1e6, Gaussian(0.01)),
    "a hundred times the noise": (WILD, Gaussian(0.01)),
    "negative": (torch.full((DESIGNS, SIZE), -5.0), Gaussian(0.01)),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", ALL)
def test_saturated_or_noisy_beyond_the_model(name, lie):
    values, noise = LIES[lie]
    drawn(ALL[name], measured(values, noise).data)


@pytest.mark.parametrize("truth", [torch.zeros(SIZE, SIZE), torch.eye(SIZE)], ids=["empty", "diagonal"])
@pytest.mark.parametrize("noise", [EXACT, Gaussian(20.0), Poisson(1.0, 1.0)], ids=repr)
@pytest.mark.parametrize("name", DRAWING)
def test_an_adaptive_scan_ends_when_all_is_measured(name, noise, truth):
    policy = Greedy(variance, InOrder(bisect_order(DESIGNS)), start=0)
    experiment = Experiment(OPERATOR, noise, DRAWING[name], policy, count=2)
    steps = list(run(experiment, Simulated(truth, OPERATOR, noise), until=budget(99)))
    assert sorted(step.design for step in steps) == list(range(DESIGNS))
    assert bool(steps[-1].draws.images.isfinite().all())


def test_variance_of_one_sample_is_not_defined():
    policy = Greedy(variance, InOrder(bisect_order(DESIGNS)), start=0)
    experiment = Experiment(OPERATOR, EXACT, DRAWING["prox"], policy, count=1)
    with pytest.raises(ValueError, match=r"variance compares samples.*gave 1 image.*at least 2"):
        experiment.ask()


DEAD = (3, 4)


@pytest.mark.parametrize("held", [0.0, 500.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ALL)
def test_what_masked_bins_hold_changes_nothing(name, held, rng):
    """No estimate, no surprise of the next measurement, nor which one that is."""
    image = torch.rand(8, 8, generator=rng)
    radon, noise = Radon(8, half_turn(6)), Masked(Gaussian(0.1), DEAD)

    def scanned(value):
        policy = Greedy(variance, InOrder(range(6)), 1) if name in DRAWING else InOrder(range(6))
        scan, chosen = Experiment(radon, noise, ALL[name], policy, count=3), []
        for _ in range(4):
            chosen.append(scan.ask())
            values = radon.forward(image[None])[0, chosen[-1]]
            values[list(DEAD)] = value
            scan.tell(chosen[-1], values)
        return chosen, [told.surprise for told in scan.told], scan.draws().guess

    (designs, surprises, guess), (ours, found, estimate) = scanned(1.0), scanned(held)
    assert ours == designs and found == surprises
    assert_close(estimate, guess, rtol=0, atol=0)
    assert bool(guess.isfinite().all())


@dataclass(frozen=True)
class Saturating:
    """Says itself what is not to be used: what is no number, and what is too high."""

    def sample(self, clean, *, rng):
        return clean

    def precision(self, values):
        return torch.where(values.isfinite() & (values < 100), 4.0, 0.0)


@pytest.mark.parametrize("held", [math.nan, math.inf, 500.0])
@pytest.mark.parametrize("name", ALL)
def test_a_noise_may_tell_by_the_value_what_is_not_used(name, held, rng):
    """As one that is told by the bin."""
    truth = torch.rand(1, SIZE, SIZE, generator=rng)
    values = OPERATOR.forward(truth)[0]
    values[:, list(DEAD)] = held
    ours, expected = measured(values, Saturating()), measured(values, Masked(Gaussian(0.5), DEAD))
    assert_close(ours.data.misfit(truth), torch.zeros(1), atol=1e-5, rtol=0)
    assert ours.data.numel == expected.data.numel == DESIGNS * (SIZE - len(DEAD))
    assert_close(drawn(ALL[name], ours.data).guess, drawn(ALL[name], expected.data).guess, rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_a_bin_that_saw_no_photon_is_not_taken_for_an_open_beam(name):
    """Its line integral is infinite, its weight 0."""
    values = torch.ones(DESIGNS, SIZE)
    values[:, list(DEAD)] = math.inf
    ours, expected = measured(values, POISSON), measured(values, Masked(POISSON, DEAD))
    (part,) = ours.data.observations
    assert not part.precision[:, list(DEAD)].any() and part.values[0, DEAD[0]] == math.inf
    assert_close(drawn(ALL[name], ours.data).guess, drawn(ALL[name], expected.data).guess, rtol=0, atol=0)


@pytest.mark.parametrize("held", [0.0, 500.0, math.nan])
def test_masked_columns_of_kspace_are_as_if_unmeasured(held, rng):
    """By `zero-filled` and `inpaint`, also where that takes values as they are."""
    operator, x = Fourier((6, SIZE)), torch.randn(1, 2, 6, SIZE, generator=rng)
    truth = torch.randn(1, 2, 6, SIZE, generator=rng)
    clean, live = operator.forward(truth)[0], [n for n in range(SIZE) if n not in DEAD]
    for guidance, std in ((Inpaint(), 0.5), (Inpaint(), 0.0), (Inpaint(exact=True), 0.5)):
        data, whole = Data(operator.image_shape), Data(operator.image_shape)
        for row in (3, 2, 5):
            whole = whole.add(operator, row, clean[row], Gaussian(std))
            spoilt = clean[row].clone()
            spoilt[list(DEAD)] = held
            data = data.add(operator, row, spoilt, Masked(Gaussian(std), DEAD))
        ours, expected = (
            to_kspace(to_complex(guidance(lambda x, sigma: x, given)(x, torch.full((1,), 0.3))))
            for given in (data, whole)
        )
        assert_close(ours[..., live], expected[..., live])
        assert_close(ours[..., list(DEAD)], to_kspace(to_complex(x))[..., list(DEAD)])
        zeros = to_kspace(to_complex(ZeroFilled().sample(data, 1, rng=rng).images))[0]
        assert_close(zeros[3, live], clean[3, live])
        assert_close(zeros[:, list(DEAD)], torch.zeros(6, len(DEAD), dtype=zeros.dtype))


def test_surprise_is_over_the_bins_that_are_used(rng):
    """That of a detector that has only these."""
    predicted, values = torch.randn(3, 8, generator=rng), torch.randn(8, generator=rng)
    noise = Gaussian(0.5)
    live = [i for i in range(8) if i not in DEAD]
    ours = surprise(predicted, values, Masked(noise, DEAD).precision(values))
    assert ours == pytest.approx(surprise(predicted[:, live], values[live], noise.precision(values[live])))
    assert surprise(predicted, values, torch.zeros(8)) is None


def test_samples_that_are_not_numbers_stop_the_scan():
    broken = DiffusionPosterior(lambda x, sigma: x * math.nan, Prox(), logarithmic(2.5, 0.02, 4))
    with pytest.raises(
        FloatingPointError, match=r"posterior with Prox\(.*NaN or infinite at noise level 2.5"
    ):
        broken.sample(Data((8, 8)), 2, rng=torch.Generator())
    scan = Experiment(OPERATOR, EXACT, broken, InOrder(range(DESIGNS)), count=2)
    with pytest.raises(FloatingPointError, match=r"posterior with Prox\("):
        scan.draws()
    images = torch.full((3, 8, 8), math.nan)
    choice = Choice(Radon(8, half_turn(6)), (0, 1), 0, lambda: Draws(images, images[0]))
    with pytest.raises(FloatingPointError, match="variance gives scores that are NaN"):
        Greedy(variance, InOrder([0]), 0).choose(choice)
    assert math.isnan(psnr(images[0], torch.zeros(8, 8)))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_single_image_that_is_no_number_stops_the_scan(lost):
    """Whoever drew it; the best design is never that of a NaN, nor the first one."""

    class Broken:
        def sample(self, data, count, *, rng, previous=None):
            images = torch.rand(3, SIZE, SIZE, generator=rng)
            images[lost, 3, 3] = math.nan
            return Draws(images, images.mean(0))

    policy = Greedy(variance, InOrder(range(DESIGNS)), 0)
    scan = Experiment(OPERATOR, EXACT, Broken(), policy, count=3)
    for asked in (scan.ask, scan.draws, scan.choosing):
        with pytest.raises(
            FloatingPointError, match="Broken gave an image that is NaN or infinite after 0 meas"
        ):
            asked()
    images = torch.rand(3, SIZE, SIZE)
    images[lost, 3, 3] = math.nan
    choice = Choice(OPERATOR, tuple(range(DESIGNS)), 1, lambda: Draws(images, images[0]))
    with pytest.raises(FloatingPointError, match="variance gives scores that are NaN"):
        policy.choose(choice)
    assert math.isnan(psnr(images[lost], images[lost - 1]))
    assert math.isnan(ssim(images[lost], images[lost - 1]))
    assert not certain(1e6)(Predicted(images))


@dataclass(frozen=True)
class Predicted:
    """A scan whose samples have foreseen everything."""

    images: torch.Tensor
    count_told: int = 5
    told: tuple[Told, ...] = (Told(0, 0.0, 1.0, None),) * 5
    raised: None = None

    def choosing(self):
        return Draws(self.images, self.images[0])


@pytest.mark.parametrize("name", ["fbp", "tv"])
def test_without_a_prior_projections_of_several_noises_are_of_one_kind(name, rng):
    """Each with its own shutter or mask; weights aside, the data are the same."""
    values = OPERATOR.forward(torch.rand(1, SIZE, SIZE, generator=rng))[0]
    one, several = measured(values, Gaussian(0.1)), measured(values, Gaussian(0.1), 0)
    for design in (5, 1, 3, 0, 2, 4):
        several.tell(design, values[design], Gaussian(0.1 + design % 2))
    assert len(several.data.observations) == 2
    ours, theirs = drawn(ALL[name], several.data), drawn(ALL[name], one.data)
    assert_close(ours.guess, theirs.guess, rtol=1e-4, atol=1e-5)
