"""The paper's baselines: what their samples differ in, and how they go on."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.ensemble import Bootstrap, Swag
from tomopilot.records import Data
from tomopilot.scan.parts import make
from tomopilot.testing import twin

SIZE, NOISE = 16, Gaussian(0.1)
RADON = Radon(SIZE, half_turn(20))
ALL = {
    "bootstrap": Bootstrap(steps=60, again=5),
    "swag": Swag(steps=60, again=5),
    "bootstrap of networks": Bootstrap(steps=6, again=2, network=True, width=2),
    "swag of networks": Swag(steps=6, again=2, every=2, network=True, width=2),
}
every = pytest.mark.parametrize("posterior", ALL.values(), ids=ALL)


def measured(*designs: int, spoilt: float | None = None) -> Data:
    """Some projections of one image; those that are spoilt hold this in two bins that are masked."""
    values = twin(RADON, NOISE, rng=torch.Generator().manual_seed(1)).data.observations[0].values.clone()
    if spoilt is not None:
        values[:, 3:5] = spoilt
    data = Data((SIZE, SIZE))
    for design in designs:
        data = data.add(RADON, design, values[design], NOISE if spoilt is None else Masked(NOISE, (3, 4)))
    return data


def drawn(posterior, data, count=4, seed=0, previous=None):
    return posterior.sample(data, count, rng=torch.Generator().manual_seed(seed), previous=previous)


def test_bootstrap_keeps_its_start_where_nothing_was_measured():
    """Rows of k-space: as many as were measured are those of the data, the others are white noise."""
    rows = Fourier((8, 6))
    truth = torch.rand(2, 8, 6, generator=torch.Generator().manual_seed(2))
    clean, data = rows.forward(truth[None])[0], Data(rows.image_shape)
    for design in (2, 4, 5):
        data = data.add(rows, design, clean[design], Gaussian(0.0))
    draws = drawn(Bootstrap(), data, count=200)
    found, seen = rows.forward(draws.images), torch.zeros(8, dtype=torch.bool)
    seen[[2, 4, 5]] = True
    assert_close(found[:, seen], clean[seen].expand(200, -1, -1), rtol=1e-3, atol=1e-3)
    powers = found[:, ~seen].abs().square().mean((0, 2))
    rms = rows.forward(draws.guess[None])[0].abs().square().sum() / draws.guess.numel()
    assert_close(powers, (2 * rms).expand(5), rtol=0.2, atol=0)
    zero_filled = torch.where(seen[:, None], clean, 0)
    assert_close(rows.forward(draws.guess[None])[0], zero_filled, rtol=1e-3, atol=1e-3)


def test_bootstrap_differs_most_where_least_was_measured():
    """In the projections of its samples: least at the measured angles, most far from them."""
    draws = drawn(Bootstrap(), measured(0, 1, 2, 3, 4, 5), count=30)
    spread = RADON.forward(draws.images).var(0).sum(-1)
    assert spread[:6].max() < 0.1 * spread[9:16].min()


def test_swag_is_spread_by_its_batches():
    """One batch is gone down without a turn, and its end is one image; several contradict each other."""
    data = measured(*range(20))
    swags = (Swag(steps=600, batch=size, relaxation=1.9) for size in (20, 4))
    whole, parts = (drawn(swag, data).images.std(0).mean() for swag in swags)
    assert whole < 0.5 * parts and parts > 1e-3
    assert drawn(Swag(), data).guess.equal(drawn(Swag(), data).images.mean(0))


@every
def test_goes_on_from_what_it_carries(posterior):
    """Through a file to the same bits, by the steps that the new measurements ask for and no more."""
    first, more = drawn(posterior, measured(0, 5)), measured(0, 5, 10)
    filed = replace(first, carry={name: value.clone() for name, value in first.carry.items()})
    straight, resumed = (drawn(posterior, more, seed=1, previous=earlier) for earlier in (first, filed))
    assert_close(straight.images, resumed.images, rtol=0, atol=0)
    assert_close(straight.guess, resumed.guess, rtol=0, atol=0)
    cold = drawn(posterior, more, seed=1)
    assert not cold.images.equal(straight.images)
    assert drawn(posterior, more, seed=1, previous=straight).carry["measured"] == 3


def test_no_new_measurement_no_new_fit():
    first = drawn(ALL["bootstrap"], measured(0, 5))
    again = drawn(ALL["bootstrap"], measured(0, 5), seed=1, previous=first)
    assert again.images.equal(first.images) and again.guess.equal(first.guess)


@every
def test_another_number_of_samples(posterior):
    first = drawn(posterior, measured(0, 5), count=4)
    assert len(drawn(posterior, measured(0, 5, 10), count=2, previous=first).images) == 2


@every
def test_masked_bins_change_nothing(posterior):
    clean, spoilt, broken = (drawn(posterior, measured(0, 5, 9, spoilt=v)) for v in (0.0, 1e5, float("nan")))
    for other in (spoilt, broken):
        assert_close(other.images, clean.images, rtol=0, atol=0)
        assert_close(other.guess, clean.guess, rtol=0, atol=0)


@every
def test_without_data(posterior):
    draws = drawn(posterior, Data((SIZE, SIZE)))
    assert draws.images.shape == (4, SIZE, SIZE) and bool(draws.images.isfinite().all())


BAD = {
    "bootstrap(steps=0)": "steps of bootstrap is 0; expected a whole number, 1 or more",
    "bootstrap(relaxation=2.0)": "relaxation is 2.0",
    "bootstrap(every=2)": "bootstrap does not accept the options",
    "swag(every=0)": "every of swag is 0; expected a whole number, 1 or more",
    "swag(batch=0)": "batch of swag is 0; expected a whole number, 1 or more",
}


@pytest.mark.parametrize(("text", "said"), BAD.items(), ids=BAD)
def test_bad_options(text, said):
    with pytest.raises(ValueError, match=said):
        make(text)


def test_options_by_name():
    assert make("bootstrap(network=True)") == Bootstrap(network=True)
    assert make("swag(every=3, steps=7)") == Swag(every=3, steps=7)
