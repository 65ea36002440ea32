"""Rotation angles as lists of numbers: whether they are radians, and how much of the turn each stands for."""

import math
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

WEDGE = 4.0  # times the next wider gap between angles, beyond which the few widest were not scanned
SPARSE = 3.0  # times the mean of the other gaps: the most that a gap counts for
SAME = 5e-6  # radians, an arc second, within which angles are one


def check_radians(angles: Float[Tensor, " n"]) -> None:
    """Raises where angles can only be degrees: beyond a turn, and round or even."""
    if angles.abs().max() > 2 * math.pi and (is_round(angles) or _even(angles)):
        raise ValueError(
            f"angles go from {angles.min():g} to {angles.max():g} in round or even steps, which looks like "
            "degrees; expected radians: use torch.deg2rad or numpy.deg2rad, or, if they are "
            "radians, take them modulo 2 pi"
        )


def is_round(angles: Float[Tensor, " n"]) -> bool:
    """Whether all are tenths of whole numbers."""
    tenths = 10 * angles.double()
    return bool(((tenths - tenths.round()).abs() <= 1e-6 * tenths.abs()).all())


def _even(angles: Float[Tensor, " n"]) -> bool:
    """Whether they divide 180 or 360 evenly, with both ends or without the last."""
    steps = angles.double().sort().values.diff()
    if len(steps) < 2 or (steps - steps.mean()).abs().max() > 1e-3 * steps.mean():
        return False
    covered = steps.mean() * torch.tensor([len(steps), len(steps) + 1])
    return bool(torch.isclose(covered[:, None], covered.new_tensor([180, 360]), rtol=1e-5).any())


def widest(gaps: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The widest gap between neighbouring angles that is no missing wedge.

    Wedges are the one or two widest gaps, or up to a thirtieth, where these stand out from the next.
    """
    ordered = gaps.sort(descending=True).values
    found = ordered[0]
    for wider, following in pairwise(ordered[: max(2, len(gaps) // 30) + 1]):
        if wider > WEDGE * following:
            found = following
    return found


def angular_weights(angles: Float[Tensor, " n"], turn: float = math.pi) -> Float[Tensor, " n"]:
    """Half the gap to both neighbours, for angles in any order and spacing; sums to the turn.

    A missing wedge counts as a usual gap, so its ends weigh as much as their neighbours. An angle that was
    measured again, on this turn or another, shares its weight.

    turn: radians after which angles repeat; of parallel beam, pi
    """
    places, order = angles.remainder(turn).sort()
    gaps = torch.diff(places, append=places[:1] + turn)
    rounding = 4 * torch.finfo(angles.dtype).eps * angles.abs().max().item()
    apart = gaps > max(SAME, rounding)
    gaps = _scanned(gaps, apart, turn)
    place = apart.roll(1).cumsum(0) % apart.sum()  # the last of a turn may be the first again
    total = torch.zeros_like(gaps).index_add(0, place, (gaps + gaps.roll(1)) / 2)
    weights = torch.empty_like(gaps)
    weights[order] = (total / place.bincount(minlength=len(gaps)).clamp(min=1))[place]
    return weights


def _scanned(gaps: Float[Tensor, " n"], apart: Bool[Tensor, " n"], turn: float) -> Float[Tensor, " n"]:
    """Gaps without missing wedges, and none that counts for much more than the others; sums to the turn."""
    real = gaps[apart]
    shorter = gaps.clamp(max=widest(real))
    if len(real) > 1:
        shorter = torch.minimum(shorter, SPARSE * (shorter.sum() - shorter) / (len(real) - 1))
    return gaps if torch.equal(shorter, gaps) else shorter * (turn / shorter.sum())


def arcs(angles: Float[Tensor, " n"]) -> Float[Tensor, "2 arcs"]:
    """First angle and length of each part of the full turn that was scanned, without the missing wedges.

    An arc reaches half a usual gap beyond its outermost angles; a turn without wedges is one arc of 2 pi.
    """
    turn = 2 * math.pi
    places = angles.double().remainder(turn).sort().values
    gaps = torch.diff(places, append=places[:1] + turn)
    real = gaps[gaps > SAME]
    missing = gaps > widest(real)
    if not bool(missing.any()):
        return torch.tensor([[0.0], [turn]], dtype=torch.float64, device=angles.device)
    starts, ends = places[missing.roll(1)], places[missing]
    lengths = (ends - starts[:, None]).remainder(turn).amin(1)
    margin = real[real <= widest(real)].mean() / 2
    return torch.stack([starts - margin, lengths + 2 * margin])
