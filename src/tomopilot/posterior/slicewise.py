"""A posterior of single slices as one of volumes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.noise import Masked
from tomopilot.measure.stack import Stack
from tomopilot.posterior.posterior import Posterior
from tomopilot.randomness import stream
from tomopilot.records import Data, Draws, Observation


@dataclass(frozen=True)
class Slicewise:
    """Another posterior on each slice of a volume by itself; samples are (k, z, *slice).

    The randomness of a slice is derived from its number: its samples are the same whatever other slices there
    are, in any order. What the posterior wants back next time is kept for each slice.

    numbers: of the slices in the volume that they were taken from; None: 0, 1, 2 and so on
    """

    posterior: Posterior
    numbers: tuple[int, ...] | None = None

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        numbers = range(data.image_shape[0]) if self.numbers is None else self.numbers
        if len(numbers) != data.image_shape[0]:
            raise ValueError(
                f"the data are of {data.image_shape[0]} slices, but {len(numbers)} have a number"
            )
        key, found, carry = int(torch.randint(2**62, (1,), generator=rng)), [], {}
        for place, number in enumerate(numbers):
            draws = self.posterior.sample(
                _data_of(data, place),
                count,
                rng=stream(key, "slice", number),
                previous=previous and _draws_of(previous, place, f"{number}."),
            )
            found.append(draws)
            carry |= {f"{number}.{name}": value for name, value in draws.carry.items()}
        images, guess = (
            torch.stack([one.images for one in found], 1),
            torch.stack([one.guess for one in found]),
        )
        return Draws(images, guess, carry, _together([one.moves for one in found]))


def _data_of(data: Data, place: int) -> Data:
    """What was measured of one slice."""
    parts = tuple(_part_of(part, place) for part in data.observations)
    return Data(data.image_shape[1:], data.device, parts)


def _part_of(part: Observation, place: int) -> Observation:
    family, whole = part.family, part.operator
    if not (isinstance(family, Stack) and isinstance(whole, Stack)):
        raise ValueError(f"expected measurements of a Stack, slice by slice, but they are of {family!r}")
    noise = part.noise.of_slice(place) if isinstance(part.noise, Masked) else part.noise
    own = replace(part, family=family.operator, values=part.values[:, place], noise=noise)
    vars(own)["operator"] = whole.operator  # its weights are made once for all slices
    return own


def _draws_of(draws: Draws, place: int, prefix: str) -> Draws:
    """The samples of one slice, and what its posterior carried on."""
    carry = {n.removeprefix(prefix): value for n, value in draws.carry.items() if n.startswith(prefix)}
    return Draws(draws.images[:, place], draws.guess[place], carry)


def _together(moves: Sequence[Float[Tensor, " m"] | None]) -> Float[Tensor, " m"] | None:
    """Logarithms of the rms of moves over the pixels of all slices, of those over each slice's."""
    noted = [one for one in moves if one is not None]
    if len(noted) < len(moves):
        return None
    return ((2 * torch.stack(noted)).logsumexp(0) - math.log(len(noted))) / 2
