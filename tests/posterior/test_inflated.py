import pytest
import torch

from tomopilot.posterior.inflated import Inflated
from tomopilot.records import Data, Draws


class Three:
    """Three samples, whatever the data; remembers what it was handed back."""

    def __init__(self) -> None:
        self.images = torch.tensor([0.0, 1.0, 5.0]).reshape(3, 1, 1).expand(3, 2, 2)
        self.previous: Draws | None = None

    def sample(self, data, count, *, rng, previous=None):
        self.previous = previous
        return Draws(self.images, self.images[0], carry={"mine": self.images})


def test_deviations_grow_and_nothing_else():
    inner = Three()
    draws = Inflated(inner, {1: 2.0}).sample(Data((2, 2)), 3, rng=torch.Generator())
    torch.testing.assert_close(draws.images.mean(0), inner.images.mean(0))
    torch.testing.assert_close(draws.images.std(0), 2 * inner.images.std(0))
    assert draws.guess is not None and draws.guess.equal(inner.images[0]) and [*draws.carry] == ["mine"]
    Inflated(inner, {1: 2.0}).sample(Data((2, 2)), 3, rng=torch.Generator(), previous=draws)
    assert inner.previous is draws


@pytest.mark.parametrize(("count", "factor"), [(0, 1.0), (1, 1.0), (5, 1.0), (10, 2.0), (20, 3.0), (99, 3.0)])
def test_factors_between_and_beyond(count, factor):
    assert Inflated(Three(), {5: 1.0, 20: 3.0}).factor(count) == pytest.approx(factor)
