"""Weights of rays as sparse matrices, and products with them."""

import abc
import warnings
from collections.abc import Iterable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

AT_ONCE = 2**18  # weights that are worked out in one go, so that the processor's cache holds them
COLUMNS = 12  # images, or views of them, that are multiplied at once


class Weights(abc.ABC):
    """A matrix of rays by pixels and its transpose, each made when it is first needed."""

    @abc.abstractmethod
    def by_ray(self) -> Float[Tensor, "rays pixels"]:
        """Weights of all rays, ordered by angle, then bin."""

    def by_pixel(self) -> Float[Tensor, "pixels rays"]:
        """The transpose; override where it is quicker made than by sorting."""
        return transposed(self.rays)

    @cached_property
    def rays(self) -> Float[Tensor, "rays pixels"]:
        return self.by_ray()

    @cached_property
    def pixels(self) -> Float[Tensor, "pixels rays"]:
        return self.by_pixel()


def csr(parts: Iterable[tuple[Tensor, Tensor]], per_row: int, shape: tuple[int, int]) -> Tensor:
    """A CSR matrix of the weights that are not 0, from `per_row` columns and weights of each row."""
    counts, columns, values = [], [], []
    for column, value in parts:
        counts.append((value != 0).reshape(-1, per_row).sum(1))
        kept = value.nonzero()[:, 0]
        columns.append(column[kept])
        values.append(value[kept])
    return _csr(torch.cat(counts), torch.cat(columns), torch.cat(values), shape)


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a CSR matrix, as a CSR matrix."""
    (height, width), columns = matrix.shape, matrix.col_indices()
    rows = torch.arange(height, dtype=columns.dtype, device=columns.device)
    rows = rows.repeat_interleave(matrix.crow_indices().diff().long())
    order = columns.sort(stable=True).indices
    counts = columns.bincount(minlength=width)
    return _csr(counts, rows[order], matrix.values()[order], (width, height))


def _csr(counts: Int[Tensor, " rows"], columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    ends = counts.cumsum(0).int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        starts = torch.cat([ends.new_zeros(1), ends])
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


class Product(torch.autograd.Function):
    """A batch of vectors times weights, or times their transpose.

    Differentiable any number of times, both ways, and under `torch.func.vmap`.
    """

    @staticmethod
    def forward(x: Tensor, weights: Weights, back: bool) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        matrix = weights.pixels if back else weights.rays
        return (matrix @ x.T.contiguous()).T

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.weights, ctx.back = inputs

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        return Product.apply(gradients[0], ctx.weights, not ctx.back), None, None

    @staticmethod
    def jvp(ctx, *tangents):
        return Product.apply(tangents[0], ctx.weights, ctx.back)

    @staticmethod
    def vmap(info, in_dims, x: Tensor, weights: Weights, back: bool):  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = x.movedim(in_dims[0], 0)
        found = Product.apply(rows.flatten(0, 1), weights, back)
        return found.reshape(*rows.shape[:2], -1), 0


def times(x: Float[Tensor, "b k"], weights: Weights, back: bool) -> Float[Tensor, "b m"]:
    """`Product` of a few vectors at once, so that the processor's cache holds them."""
    found = [Product.apply(some, weights, back) for some in x.split(COLUMNS)]
    return found[0] if len(found) == 1 else torch.cat(found)
