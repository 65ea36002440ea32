"""Parallel-beam projections, and the filtered back-projection that belongs to their geometry."""

import math
import warnings
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.measure.operator import Operator

CHUNK = 2**24  # weights of a projection matrix that are made at once, about 0.4 GB with the transpose
KEPT = 2**27  # weights that are kept for the next call, about 3 GB: 180 angles at 512 x 512


class Radon(Operator):
    """Line integrals of a square image along parallel rays, in image value times pixel width.

    With x to the right and y upwards from the image's centre, in pixels, detector bin t of angle theta
    integrates over x cos(theta) + y sin(theta) = t: 0 radians sums along columns, and angles turn
    counter-clockwise. Rays are sampled once per image row (or column, whichever they cross more steeply) with
    linear interpolation (Joseph 1982). The weights are sparse matrices of a few angles each, so the adjoint
    is the exact transpose; they are made once, except for images so large that they would not fit.
    """

    def __init__(self, size: int, angles: Float[Tensor, " n"], bins: int | None = None) -> None:
        if size < 2:
            raise ValueError(f"the image is {size} pixels wide; a projection needs at least 2")
        if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
            raise ValueError(
                f"angles are {angles!r}; expected a list of at least one finite angle in radians"
            )
        self.size, self.angles, self.bins = size, angles, size if bins is None else bins
        if self.bins < 1:
            raise ValueError(f"the detector has {bins} bins; it needs at least 1")
        self._per_chunk = max(1, CHUNK // (2 * size * self.bins))
        self._keeps = 2 * len(angles) * size * self.bins <= KEPT
        self._stored: dict[tuple, list[tuple[Tensor, Tensor]]] = {}

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    @property
    def block_shape(self) -> tuple[int, ...]:
        return (self.bins,)

    @property
    def settings(self) -> Float[Tensor, " n"]:
        return self.angles

    @property
    def complex_values(self) -> bool:
        return False

    @property
    def unit(self) -> str:
        return "degrees"

    @property
    def shown(self) -> Float[Tensor, " n"]:
        return self.angles.rad2deg()

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Radon":
        return Radon(self.size, self.angles[index.to(self.angles.device)], self.bins)

    def __repr__(self) -> str:
        return f"Radon(size={self.size}, angles=<{len(self)} angles>, bins={self.bins})"

    def to(self, device: torch.device | str) -> "Radon":
        return Radon(self.size, self.angles.to(device), self.bins)

    def forward(self, x: Float[Tensor, "b h w"]) -> Float[Tensor, "b n bins"]:
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])}, but this operator projects {self.image_shape}"
            )
        parts = [_Product.apply(x.flatten(1), *pair) for pair in self._matrices(x)]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return flat.unflatten(1, (-1, self.bins))

    def adjoint(self, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b h w"]:
        self.check_projections(y)
        parts = zip(y.split(self._per_chunk, 1), self._matrices(y), strict=True)
        total = sum(_Product.apply(part.flatten(1), back, there) for part, (there, back) in parts)
        return total.unflatten(1, self.image_shape)  # pyright: ignore[reportAttributeAccessIssue]

    def check_projections(self, y: Tensor) -> None:
        """Raises where `y` cannot be a batch of this operator's projections."""
        came, expected = tuple(y.shape[1:]), (len(self), self.bins)
        if came != expected:
            raise ValueError(f"projections have shape {came}; expected (angles, bins) = {expected}")

    def _matrices(self, like: Tensor):
        """Projection matrix and its transpose for each chunk of angles, kept where there is room for all."""
        angles, key = self.angles.to(like.device), (like.dtype, like.device)
        if key in self._stored:
            return self._stored[key]
        chunks = angles.split(self._per_chunk)
        made = (projection_matrix(self.size, self.bins, chunk, like.dtype) for chunk in chunks)
        if not self._keeps:
            return made
        self._stored[key] = list(made)
        return self._stored[key]


class _Product(torch.autograd.Function):
    """Batch of vectors times a sparse matrix, differentiable any number of times."""

    @staticmethod
    def forward(ctx, x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.matrices = matrix, transpose
        return (matrix @ x.T.contiguous()).T

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        matrix, transpose = ctx.matrices
        return _Product.apply(gradients[0], transpose, matrix), None, None


def projection_matrix(
    size: int, bins: int, angles: Float[Tensor, " n"], dtype: torch.dtype
) -> tuple[Float[Tensor, "rays pixels"], Float[Tensor, "pixels rays"]]:
    """Joseph's weights of all rays as a sparse CSR matrix, and its transpose."""
    device, half = angles.device, (size - 1) / 2
    theta = angles.double()[:, None, None]
    t = torch.arange(bins, dtype=torch.float64, device=device)[:, None] - (bins - 1) / 2
    line = torch.arange(size, dtype=torch.float64, device=device)  # the rows, or columns, a ray crosses
    cos, sin = theta.cos(), theta.sin()
    steep = cos.abs() >= sin.abs()  # crosses rows: y is given, x is interpolated
    across = torch.where(steep, cos, -sin)
    along = torch.where(steep, (t - (half - line) * sin) / cos, (t - (line - half) * cos) / -sin) + half
    lower = along.floor()
    columns, weights = [], []
    for neighbour in (lower, lower + 1):
        inside = (neighbour >= 0) & (neighbour < size)
        weight = torch.where(inside, (1 - (along - neighbour).abs()) / across.abs(), 0.0)
        pixel = torch.where(steep, line * size + neighbour, neighbour * size + line)
        columns.append(torch.where(inside, pixel, 0.0))
        weights.append(weight)
    rays = len(angles) * bins
    weight = torch.stack(weights, -1).reshape(rays, -1)
    column = torch.stack(columns, -1).reshape(rays, -1).long()
    kept = weight != 0
    starts = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.sum(1).cumsum(0)])
    ray = torch.arange(rays, device=device)[:, None].expand_as(kept)[kept]
    column, weight = column[kept], weight[kept].to(dtype)
    order = torch.argsort(column, stable=True)
    counts = torch.bincount(column, minlength=size * size).cumsum(0)
    back_starts = torch.cat([counts.new_zeros(1), counts])
    return (
        _csr(starts, column, weight, (rays, size * size)),
        _csr(back_starts, ray[order], weight[order], (size * size, rays)),
    )


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts.int(), columns.int(), values, shape, check_invariants=False)


def half_turn(count: int = 180) -> Float[Tensor, " n"]:
    """`count` equally spaced angles over half a turn, in radians, from 0."""
    if count < 1:
        raise ValueError(f"{count} angles were asked for; a scan needs at least 1")
    return torch.arange(count) * (math.pi / count)


@lru_cache(maxsize=8)
def _ramp(bins: int) -> Float[Tensor, " f"]:
    """The ramp filter of a band-limited detector, twice zero-padded (Kak & Slaney 2001, Eq. 3.61)."""
    length = 2 ** math.ceil(math.log2(2 * bins))
    lag = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64).round()
    kernel = torch.where(lag % 2 != 0, -1 / (math.pi * lag).square(), torch.zeros_like(lag))
    kernel[0] = 0.25
    return torch.fft.rfft(kernel).real.float()


def angular_weights(angles: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Half the gap to both neighbours on the half turn, for angles in any order and spacing; sums to pi."""
    turn = angles.remainder(math.pi)
    order = torch.argsort(turn)
    gaps = torch.diff(turn[order], append=turn[order][:1] + math.pi)
    weights = torch.empty_like(turn)
    weights[order] = (gaps + gaps.roll(1)) / 2
    return weights


def filtered_backprojection(radon: Radon, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b h w"]:
    """The image by ramp filter and back-projection; unevenly spaced angles count by the gap they fill.

    Beyond the detector, a projection is continued by its outermost values: where the object is wider than the
    detector this is far better than zeros, and elsewhere it is the same.
    """
    radon.check_projections(y)
    ramp = _ramp(2 * radon.bins).to(y)
    length, margin = 2 * (len(ramp) - 1), radon.bins // 2
    padded = torch.nn.functional.pad(y, (margin, radon.bins - margin), mode="replicate")
    filtered = torch.fft.irfft(torch.fft.rfft(padded, length) * ramp, length)[
        ..., margin : margin + radon.bins
    ]
    return radon.adjoint(filtered * angular_weights(radon.angles).to(y)[:, None])
