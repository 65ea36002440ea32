import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context

import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder, bisect_order, centre_order
from tomopilot.design.stopping import budget, certain
from tomopilot.design.trust import WEIGHED, Alarm, Watch, surprise, worse
from tomopilot.experiment import Experiment, Guard, Undrawn, run
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.denoiser import GaussianPrior, Metered
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.records import Data, Draws
from tomopilot.simulate.instrument import Simulated

SIZE, DESIGNS, NOISE = 8, 6, Gaussian(0.1)
OPERATOR = Radon(SIZE, half_turn(DESIGNS))


@pytest.fixture
def measure(rng):
    """The same values whenever a design is measured."""
    return cache(Simulated(torch.rand(SIZE, SIZE, generator=rng), OPERATOR, NOISE))


def new(policy=None, count=3, seed=0, data=None) -> Experiment:
    prior = Metered(GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2)))
    posterior = DiffusionPosterior(prior, Soft(steps=3), ddpm(4))
    policy = policy or Greedy(variance, InOrder(bisect_order(DESIGNS)))
    return Experiment(OPERATOR, NOISE, posterior, policy, count=count, seed=seed, data=data)


def images(experiment):
    return experiment.draws().images


def assert_same(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("order", [*itertools.permutations([4, 0, 3])], ids=str)
def test_order_of_tell_does_not_matter(order, measure):
    first, second = new(), new()
    for design in (0, 3, 4):
        first.tell(design, measure(design))
    for design in order:
        second.tell(design, measure(design))
        images(second)  # looking on the way changes nothing
    assert_same(images(second), images(first))
    assert second.ask() == first.ask()


def test_unasked_and_repeated_designs_are_welcome(measure):
    experiment = new()
    asked = experiment.ask()
    other = (asked + 1) % DESIGNS
    for _ in range(2):
        experiment.tell(other, measure(other))
    assert experiment.count_told == len(experiment.data) == 2
    assert other not in experiment.free and asked not in experiment.free
    experiment.tell(asked, measure(asked))
    assert not experiment.pending
    assert bool(images(experiment).isfinite().all())


def test_a_repeat_counts_as_much_as_the_first(measure):
    experiment = new()
    y = measure(2)
    experiment.tell(2, y)
    x = torch.rand(2, SIZE, SIZE)
    misfit, gradient = experiment.data.misfit(x), experiment.data.gradient(x)
    experiment.tell(2, y)
    torch.testing.assert_close(experiment.data.misfit(x), 2 * misfit)
    torch.testing.assert_close(experiment.data.gradient(x), 2 * gradient)


def test_pending_designs_are_not_offered_again(measure):
    experiment = new()
    assert sorted(experiment.ask() for _ in range(DESIGNS)) == list(range(DESIGNS))
    with pytest.raises(ValueError, match="nothing is left"):
        experiment.ask()


BAD = {
    "unknown": (DESIGNS, torch.zeros(SIZE), r"design 6.*0 to 5"),
    "negative": (-1, torch.zeros(SIZE), r"design -1.*0 to 5"),
    "bins": (1, torch.zeros(SIZE // 2), r"\(4,\).*\(8,\).*binned"),
    "batch": (1, torch.zeros(1, SIZE), r"\(1, 8\).*\(8,\)"),
    "nan": (1, torch.tensor([0.0] * 7 + [torch.nan]), r"1 of 8 values of design 1"),
    "inf": (1, torch.tensor([torch.inf] * 8), r"8 of 8 values.*expected finite"),
}


@pytest.mark.parametrize(("design", "values", "message"), BAD.values(), ids=BAD.keys())
def test_bad_measurements_are_refused_and_change_nothing(design, values, message, measure):
    experiment = new()
    experiment.tell(0, measure(0))
    asked, draws, data = experiment.ask(), experiment.draws(), experiment.data
    with pytest.raises(ValueError, match=message):
        experiment.tell(design, values)
    assert experiment.data is data and experiment.designs == [0]
    assert [*experiment.pending] == [asked] and experiment.draws() is draws


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint16, torch.float64, torch.float16], ids=str)
def test_any_number_type_is_understood(dtype, measure):
    first, second = new(), new()
    y = measure(1).round().clamp(min=0)
    first.tell(1, y)
    second.tell(1, y.to(dtype))
    torch.testing.assert_close(images(second), images(first))


@pytest.mark.parametrize("told", [0, 1, 3])
def test_resumed_equals_never_stopped(told, measure):
    straight = new()
    steps = list(run(straight, measure, until=budget(5)))
    resumed = new()
    for step in steps[:told]:
        resumed.tell(step.design, measure(step.design))
    rest = list(run(resumed, measure, until=budget(5)))
    assert [step.design for step in rest] == [step.design for step in steps[told:]]
    for ours, theirs in zip(rest[:-1], steps[told:-1], strict=True):
        torch.testing.assert_close(ours.next.scores, theirs.next.scores, rtol=0, atol=0, equal_nan=True)
    assert_same(images(resumed), images(straight))


def test_seeds_differ(measure):
    assert not torch.equal(images(new(seed=0)), images(new(seed=1)))


def test_run_stops_at_the_budget(measure):
    experiment = new()
    steps = list(run(experiment, measure, until=budget(3)))
    assert [step.count for step in steps] == [1, 2, 3] and experiment.count_told == 3
    assert [step.next.design for step in steps[:-1]] == [step.design for step in steps[1:]]
    assert steps[-1].next is None and steps[-1].seconds == 0


def test_run_stops_when_all_is_measured(measure):
    steps = list(run(new(), measure, until=budget(100)))
    assert sorted(step.design for step in steps) == list(range(DESIGNS))
    assert steps[-1].next is None
    assert steps[0].setting == pytest.approx(OPERATOR.settings[steps[0].design].item())


def test_steps_keep_their_own_draws(measure):
    kept = [(step, step.draws.images) for step in run(new(), measure, until=budget(3))]
    for step, seen in kept:
        assert_same(step.draws.images, seen)


def test_one_sample_cannot_be_compared(measure):
    experiment = new(count=1)
    experiment.tell(0, measure(0))
    with pytest.raises(ValueError, match="at least 2"):
        experiment.ask()
    with pytest.raises(ValueError, match="count is 0"):
        new(count=0)


def test_draws_are_kept_until_the_next_tell(measure):
    experiment = new()
    meter = experiment.posterior.denoise
    first = experiment.draws()
    experiment.ask()
    assert experiment.draws() is first and meter.evaluations == 3 * 4
    experiment.tell(0, measure(0))
    assert meter.evaluations == 3 * 4
    assert experiment.draws() is not first and meter.evaluations == 2 * 3 * 4


def scouting(policy=None, *, alone=False) -> Experiment:
    """Chooses by a warm-started scout; `alone`, it is also looked at."""
    prior = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))
    levels, warm = logarithmic(2.5, 0.05, 5), logarithmic(0.3, 0.05, 2)
    scout = DiffusionPosterior(Metered(prior), Prox(), levels, warm=warm, refresh=4)
    looker = scout if alone else DiffusionPosterior(Metered(prior), Prox(), logarithmic(2.5, 0.05, 7))
    policy = policy or Greedy(variance, InOrder(bisect_order(DESIGNS)), start=2)
    return Experiment(OPERATOR, NOISE, looker, policy, scout=None if alone else scout, count=3)


def assert_same_steps(steps, others):
    assert [step.design for step in steps] == [step.design for step in others]
    for ours, theirs in zip(steps, others, strict=True):
        assert (ours.next is None) is (theirs.next is None)
        if ours.next is not None and (ours.next.scores is not None or theirs.next.scores is not None):
            torch.testing.assert_close(ours.next.scores, theirs.next.scores, rtol=0, atol=0, equal_nan=True)


def test_the_scout_is_drawn_to_choose_and_the_posterior_to_look(measure):
    experiment = scouting()
    chooser, looker = experiment.scout.denoise, experiment.posterior.denoise
    counts = []
    for _ in run(experiment, measure, until=budget(5)):
        counts.append(chooser.evaluations)
    assert counts == [0, 3 * 5, 3 * 7, 3 * 12, 3 * 12]  # opening, cold, warm, refreshed, last
    assert looker.evaluations == 0
    experiment.draws()
    assert chooser.evaluations == counts[-1] and looker.evaluations == 3 * 7


def test_a_fixed_order_needs_no_scout(measure):
    experiment = scouting(InOrder(bisect_order(DESIGNS)))
    for step in run(experiment, measure, until=budget(3)):
        assert bool(step.draws.images.isfinite().all()) and experiment.scouted() is None
    assert experiment.scout.denoise.evaluations == 0


@pytest.mark.parametrize("alone", [False, True])
def test_looking_changes_nothing(alone, measure):
    blind, looking = scouting(alone=alone), scouting(alone=alone)
    steps, seen = list(run(blind, measure, until=budget(5))), []
    looking.draws()
    for step in run(looking, measure, until=budget(5)):
        seen.append(step)
        step.draws  # noqa: B018
    assert_same_steps(seen, steps)
    assert looking.told == blind.told
    assert_same(images(looking), images(blind))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("told", [1, 2, 3, 4])
def test_recalled_equals_never_stopped(told, alone, measure):
    """Samples started from those of the moment before, which the measurements alone do not tell."""
    straight, steps, kept = scouting(alone=alone), [], []
    for step in run(straight, measure, until=budget(DESIGNS)):
        steps.append(step)
        kept.append((list(straight.told), straight.scouted()))
    resumed = scouting(alone=alone)
    for step in steps[:told]:
        resumed.tell(step.design, measure(step.design))
    resumed.recall(*kept[told - 1])
    now = resumed.decide()
    assert now.design == steps[told].design
    assert_same_steps(list(run(resumed, measure, until=budget(DESIGNS))), steps[told:])
    assert resumed.told == straight.told
    assert_same(images(resumed), images(straight))


def test_moves_stand_beside_the_designs(measure):
    """Of the samples that each measurement was chosen by, where those were taken up again."""
    experiment = scouting()
    for _ in run(experiment, measure, until=budget(DESIGNS)):
        pass
    assert [told.moves is not None for told in experiment.told] == [False, False, False, True, False, True]
    assert all(len(told.moves) == 6 for told in experiment.told if told.moves)


def test_what_is_not_recalled_is_missed(measure):
    """Or the test above could not fail."""
    straight, forgetful = scouting(), scouting()
    steps = list(run(straight, measure, until=budget(4)))
    for step in steps[:3]:
        forgetful.tell(step.design, measure(step.design))
    assert not torch.equal(forgetful.decide().scores.nan_to_num(), steps[2].next.scores.nan_to_num())


def test_surprises_stand_beside_the_designs(measure):
    experiment, expected, offered = scouting(), [], []

    class Watched:
        def choose(self, choice):
            offered.append(choice.told)
            return Greedy(variance, InOrder(bisect_order(DESIGNS)), start=2).choose(choice)

    experiment.policy = Watched()
    for _ in range(5):
        design = experiment.ask()
        values, scouted = measure(design) + 0.3, experiment.scouted()
        if scouted is not None:
            predicted = OPERATOR.forward(scouted.images)[:, design]
            scouted = surprise(predicted, values, NOISE.precision(values))
        expected.append(scouted)
        experiment.tell(design, values)
    assert expected[:2] == [None, None] and None not in expected[2:]
    assert [told.surprise for told in experiment.told] == pytest.approx(expected)
    assert [len(told) for told in offered] == [0, 1, 2, 3, 4]
    assert list(offered[-1]) == experiment.told[:4]


def test_each_measurement_is_judged_by_the_latest_samples(measure):
    """An unasked design was predicted as well, and so was the second of one moment; the first was not."""
    experiment = scouting(Greedy(variance, InOrder(bisect_order(DESIGNS)), start=1))
    first = experiment.ask()
    experiment.tell(first, measure(first))
    asked, scouted = experiment.ask(), experiment.scouted()
    others = [(asked + 1) % DESIGNS, asked]
    for design in others:
        experiment.tell(design, measure(design))
    predicted = OPERATOR.forward(scouted.images)
    expected = [surprise(predicted[:, n], measure(n), NOISE.precision(measure(n))) for n in others]
    assert [one.surprise for one in experiment.told] == [None, *map(pytest.approx, expected)]


def test_a_fixed_order_never_draws(measure):
    experiment = new(InOrder(bisect_order(DESIGNS)))
    designs = [step.design for step in run(experiment, measure, until=budget(5))]
    assert designs == bisect_order(DESIGNS)[:5]
    assert experiment.posterior.denoise.evaluations == 0


def test_a_fixed_order_that_ends_too_early_says_so(measure):
    with pytest.raises(ValueError, match="order"):
        list(run(new(InOrder([0, 1])), measure, until=budget(5)))


def test_nothing_measured_fits_everything(rng):
    data, x = Data((SIZE, SIZE)), torch.rand(2, SIZE, SIZE, generator=rng)
    assert len(data) == data.numel == 0
    assert_same(data.misfit(x), torch.zeros(2))
    assert_same(data.gradient(x), torch.zeros_like(x))
    assert_same(data.normal(x), torch.zeros_like(x))
    assert data.lipschitz == 0


def test_misfit_and_its_derivatives(rng, measure):
    data = Data((SIZE, SIZE))
    for design, noise in ((1, NOISE), (4, NOISE), (2, Gaussian(0.5))):
        data = data.add(OPERATOR, design, measure(design), noise)
    assert len(data) == 3 and len(data.observations) == 2 and data.numel == 3 * SIZE
    x = torch.rand(2, SIZE, SIZE, generator=rng, dtype=torch.float64, requires_grad=True)
    misfit = data.misfit(x)
    expected = sum(
        (OPERATOR.forward(x)[:, design] - measure(design)).square().sum(1) / noise.std**2 / 2
        for design, noise in ((1, NOISE), (4, NOISE), (2, Gaussian(0.5)))
    )
    torch.testing.assert_close(misfit, expected)
    (gradient,) = torch.autograd.grad(misfit.sum(), x)
    torch.testing.assert_close(data.gradient(x), gradient)
    step = torch.rand(x.shape, generator=rng, dtype=x.dtype)
    torch.testing.assert_close(data.normal(step), data.gradient(x + step) - data.gradient(x))


@pytest.mark.parametrize("counts", [(1,), (7,), (16,), (3, 17), (17, 1)], ids=str)
def test_batches_are_all_of_the_data(counts, rng):
    families = [Radon(SIZE, half_turn(count)) for count in counts]
    data = Data((SIZE, SIZE))
    for family in families:
        for design in range(len(family)):
            data = data.add(family, design, torch.rand(SIZE, generator=rng), NOISE)
    parts = data.batches(8)
    x = torch.rand(1, SIZE, SIZE, generator=rng)
    torch.testing.assert_close(sum(part.gradient(x) for part in parts), data.gradient(x))
    assert all(0 < len(part) <= 8 * len(counts) for part in parts)


def complex_experiment() -> Experiment:
    prior = GaussianPrior(torch.full((2, SIZE, SIZE), 0.3), 0.04 * torch.eye(2 * SIZE**2))
    posterior = DiffusionPosterior(prior, Inpaint(), logarithmic(2.0, 0.05, 4))
    return Experiment(
        Fourier((SIZE, SIZE)), NOISE, posterior, Greedy(variance, InOrder(centre_order(SIZE)), 2), count=3
    )


def test_rows_of_kspace_go_through_the_same_loop(rng):
    experiment = complex_experiment()
    truth = torch.rand(2, SIZE, SIZE, generator=rng)
    steps = list(run(experiment, Simulated(truth, experiment.operator, NOISE), until=budget(SIZE)))
    assert [step.design for step in steps[:2]] == [4, 3] and steps[0].setting == 4
    assert sorted(experiment.designs) == list(range(SIZE)) and not experiment.free
    assert all(told.surprise is None or told.surprise > 0 for told in experiment.told)
    after = experiment.draws().guess - truth
    assert after.square().mean().sqrt() < (truth - 0.3).square().mean().sqrt() / 2


def test_complex_values_of_projections_and_real_ones_of_kspace_are_refused():
    with pytest.raises(ValueError, match=r"complex \(torch.complex64\), but Radon.*real numbers; take line"):
        new().tell(0, torch.zeros(SIZE, dtype=torch.complex64))
    for values in (torch.zeros(SIZE), torch.zeros(SIZE, dtype=torch.int32)):
        with pytest.raises(ValueError, match=r"are real .*but Fourier.*complex numbers; keep the phase"):
            complex_experiment().tell(0, values)
    assert Operator.complex_values.fget(OPERATOR) is OPERATOR.complex_values is False
    operator = Fourier((SIZE, SIZE))
    assert Operator.complex_values.fget(operator) is operator.complex_values is True


def test_a_scan_that_starts_from_data_knows_them_but_does_not_count_them(measure):
    """As if they had been told, but for the number of measurements and the designs that are left."""
    prescan = Data(OPERATOR.image_shape).add(OPERATOR, 1, measure(1), NOISE)
    told, begun = new(), new(data=prescan)
    told.tell(1, measure(1))
    assert (begun.count_told, len(begun.data), 1 in begun.free) == (0, 1, True)
    begun.tell(4, measure(4))
    told.tell(4, measure(4))
    x = torch.rand(2, *OPERATOR.image_shape)
    torch.testing.assert_close(begun.data.misfit(x), told.data.misfit(x))
    with pytest.raises(ValueError, match="same grid"):
        new(data=Data((3, 3)))


def test_a_measurement_may_bring_its_own_noise(measure):
    """Twice the noise, a quarter of the weight; masked bins may hold anything in that measurement alone."""
    plain, noisy = new(), new()
    plain.tell(0, measure(0))
    noisy.tell(0, measure(0), Gaussian(2 * NOISE.std))
    x = torch.rand(2, *OPERATOR.image_shape)
    torch.testing.assert_close(noisy.data.misfit(x), plain.data.misfit(x) / 4)
    broken = measure(1).clone()
    broken[0] = torch.nan
    noisy.tell(1, broken, Masked(NOISE, (0,)))
    with pytest.raises(ValueError, match="NaN"):
        noisy.tell(2, broken)
    assert noisy.designs == [0, 1] and bool(noisy.data.misfit(x).isfinite().all())


def reached(design: int) -> float:
    """Where a stage stops that always goes a little too far."""
    return OPERATOR.settings[design].item() + 0.07


def test_a_measurement_counts_where_it_was_taken(rng):
    """Not where it was asked for: the truth fits the data to rounding."""
    truth, experiment = torch.rand(SIZE, SIZE, generator=rng), new()
    for design in (4, 0):
        experiment.tell(
            design, OPERATOR.at([reached(design)]).forward(truth[None])[0, 0], setting=reached(design)
        )
    experiment.tell(2, OPERATOR.forward(truth[None])[0, 2])
    assert experiment.data.misfit(truth[None]).item() < 1e-8
    assert [told.setting for told in experiment.told[:2]] == pytest.approx([reached(4), reached(0)])
    assert experiment.free == (1, 3, 5)
    (part,) = experiment.data.observations
    assert part.settings.tolist() == sorted(part.settings.tolist()) and len(part.settings) == 3
    blind = new()
    blind.tell(4, OPERATOR.at([reached(4)]).forward(truth[None])[0, 0])
    assert blind.data.misfit(truth[None]).item() > 1


def test_surprise_is_of_what_was_reached(measure):
    experiment = new(Greedy(variance, InOrder([0]), start=0))
    design = experiment.ask()
    draws = experiment.choosing().images
    values = OPERATOR.at([reached(design)]).forward(draws).mean(0)[0]
    experiment.tell(design, values, setting=reached(design))
    assert experiment.told[0].surprise < 1e-6


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (180 / DESIGNS * 2 + 0.01, "60 degrees, but .* in radians"),
        (OPERATOR.settings[2].item() + 0.6, "further off"),
        ([0.1, 0.2], "design 2 is at"),
        (float("nan"), "finite"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_rejected(setting, message, measure):
    experiment = new()
    with pytest.raises(ValueError, match=message):
        experiment.tell(2, measure(2), setting=setting)
    assert experiment.count_told == 0 and len(experiment.data) == 0


def test_angles_a_half_turn_apart_are_near(measure):
    experiment = new()
    experiment.tell(0, measure(0).flip(0), setting=torch.pi + 0.01)
    assert experiment.count_told == 1


def test_a_snapshot_can_be_drawn_in_another_process(measure):
    experiment, here = scouting(), scouting()
    for design in (0, 3):
        for one in (experiment, here):
            one.tell(design, measure(design))
    snapshot = experiment.snapshot
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        elsewhere = pool.submit(snapshot.choosing).result()
    assert experiment.scouted() is None
    experiment.take(snapshot, elsewhere)
    assert_same(elsewhere.images, here.choosing().images)
    assert experiment.scouted() is elsewhere and experiment.ask() == here.ask()


def test_a_snapshot_stays_as_it_was(measure):
    experiment, alike = new(), new()
    for one in (experiment, alike):
        one.tell(0, measure(0))
    snapshot = experiment.snapshot
    experiment.tell(1, measure(1))
    assert_same(snapshot.choosing().images, alike.choosing().images)


def test_samples_may_come_late_but_not_after_later_ones(measure):
    experiment = scouting()
    experiment.tell(0, measure(0))
    snapshot = experiment.snapshot
    experiment.tell(1, measure(1))
    with pytest.raises(Undrawn, match="of 2 measurements"):
        experiment.policy.choose(experiment.at_hand())
    experiment.take(snapshot, snapshot.anew().choosing())
    with pytest.raises(Undrawn, match="of 2 measurements"):
        experiment.policy.choose(experiment.at_hand())
    assert experiment.policy.choose(experiment.at_hand(late=True)).design in experiment.free
    experiment.tell(2, measure(2))
    assert experiment.snapshot.earlier is snapshot.chosen_by and experiment.told[-1].surprise is not None
    experiment.choosing()
    assert experiment.policy.choose(experiment.at_hand()).design == experiment.decide().design
    experiment.tell(3, measure(3))
    with pytest.raises(ValueError, match="of 1 measurements, but 4"):
        experiment.take(snapshot, snapshot.choosing())


def test_barred_designs_are_never_offered(measure):
    experiment = new()
    experiment.barred = {0, 2}
    assert not {0, 2} & set(experiment.free)
    asked = [experiment.ask() for _ in range(len(experiment.operator) - 2)]
    assert not {0, 2} & set(asked) and not experiment.free


class Fixed:
    """An image, whatever was measured."""

    def __init__(self, image: torch.Tensor) -> None:
        self.image = image

    def sample(self, data, count, *, rng, previous=None):
        return Draws(self.image[None], self.image)


DENSE = torch.linspace(10, 40, SIZE**2).reshape(SIZE, SIZE)  # of another material
dense = cache(Simulated(DENSE, OPERATOR, NOISE))


def guarded(alarm=None, bare=DENSE) -> Experiment:
    """Once two predicted measurements surprise, from the last design down, and an image that is right."""
    made = scouting()
    watch = Watch(alarm or Alarm(drift=0.0, threshold=4.0))
    made.guard = Guard(watch, InOrder(range(DESIGNS)[::-1]), Fixed(bare))
    return made


def test_the_guard_takes_over_once_it_predicts_better_after_an_alarm():
    experiment, seen = guarded(), []
    for step in run(experiment, dense, until=budget(DESIGNS)):
        seen.append((experiment.without_prior, step.draws))
    assert experiment.raised is not None and experiment.without_prior is not None
    raised, at = experiment.raised.at, experiment.without_prior
    assert 2 < raised <= at < DESIGNS
    assert [left for left, *_ in seen] == (at - 1) * [None] + [at] * (DESIGNS - at + 1)
    for left, draws in seen:
        assert len(draws.images) == (1 if left else 3)
        assert torch.equal(draws.guess, DENSE) is bool(left)
    rest = experiment.designs[at:]
    assert rest == sorted(rest, reverse=True)
    compared = [n for n, one in enumerate(experiment.told, 1) if one.worse is not None]
    assert compared == [*range(raised, at + 1)]


def test_an_alarm_of_a_prior_that_predicts_better_changes_nothing(measure):
    """Its samples are surprised, but nothing without the prior would have known better."""
    made = guarded(Alarm(drift=0.0, threshold=-1.0), torch.zeros(SIZE, SIZE))  # rings at once
    steps = [*run(made, measure, until=budget(DESIGNS))]
    assert made.raised is not None and made.without_prior is None
    weighed = [one.worse for one in made.told if one.worse is not None]
    assert len(weighed) == WEIGHED and max(weighed) < 1
    assert_same_steps(steps, [*run(scouting(), measure, until=budget(DESIGNS))])


def test_without_an_alarm_a_guard_changes_nothing(measure):
    quiet = [*run(guarded(Alarm(drift=0.0, threshold=1e9)), measure, until=budget(DESIGNS))]
    bare = [*run(scouting(), measure, until=budget(DESIGNS))]
    assert_same_steps(quiet, bare)
    assert_same(quiet[-1].draws.images, bare[-1].draws.images)


@pytest.mark.parametrize("by_estimate", [True, False])
def test_a_prior_is_weighed_by_its_estimate_or_by_the_samples_to_choose_by(by_estimate):
    made = guarded(Alarm(drift=0.0, threshold=-1.0), torch.zeros(SIZE, SIZE))
    assert made.guard is not None
    made.guard = replace(made.guard, by_estimate=by_estimate)
    for design in (0, 1):
        made.tell(design, dense(design))
    drawn = made.draws() if by_estimate else made.choosing()
    made.choosing()
    made.tell(2, dense(2))
    seen = OPERATOR[torch.tensor([2])].forward(drawn.images)[:, 0]
    expected = worse(seen, torch.zeros(seen.shape[1:]), dense(2), NOISE.precision(dense(2)))
    assert made.told[-1].worse == expected


class Exhausted:
    """Never has the memory."""

    def sample(self, data, count, *, rng, previous=None):
        raise torch.OutOfMemoryError("out of memory")


def test_a_measurement_is_told_where_nothing_can_be_compared():
    made = guarded()
    assert made.guard is not None
    made.guard = replace(made.guard, posterior=Exhausted())
    for _ in run(made, dense, until=budget(DESIGNS)):
        pass
    assert made.raised is not None and made.without_prior is None and made.count_told == DESIGNS


def test_a_recalled_alarm_holds():
    straight = guarded()
    steps = [*run(straight, dense, until=budget(DESIGNS))]
    resumed = guarded()
    for step in steps[:-1]:
        resumed.tell(step.design, dense(step.design))
    assert resumed.raised is None  # nothing was drawn, so nothing surprised
    resumed.recall(straight.told[:-1], None)
    assert resumed.raised == straight.raised and resumed.without_prior == straight.without_prior
    assert len(resumed.draws().images) == 1
    assert resumed.decide().design == steps[-1].design


def test_no_scan_is_certain_after_an_alarm(measure):
    enough = certain(rmse=1e9)
    for experiment, sure in ((scouting(), True), (guarded(Alarm(drift=0.0, threshold=-1.0)), False)):
        for _ in run(experiment, measure, until=budget(DESIGNS)):
            pass
        as_predicted = [replace(one, surprise=1.0) for one in experiment.told]
        experiment.recall(as_predicted, None)
        assert enough(experiment) is sure
