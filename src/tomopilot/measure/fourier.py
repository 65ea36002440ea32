"""Rows of k-space: what magnetic resonance measures of a complex image, one phase-encoding step at a time."""

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from tomopilot.measure.kind import ROW, Kind
from tomopilot.measure.operator import Numbers, Operator, numbers


class Fourier(Operator):
    """Rows of the centred orthonormal two-dimensional Fourier transform of a complex image.

    The image is two real channels, its real and its imaginary part. k-space is
    fftshift(fft2(ifftshift(image), norm="ortho")): the constant image is in row h // 2 and column w // 2, and
    lower row numbers are lower frequencies along the image's rows. The transform is unitary, so a measured
    row weighs as much as it did in the image.
    """

    def __init__(self, shape: tuple[int, int], rows: Numbers | None = None) -> None:
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"the image is {shape} pixels; k-space needs a height and a width of at least 1")
        self.shape = (int(shape[0]), int(shape[1]))
        self.rows = torch.arange(self.shape[0]) if rows is None else _whole(rows)
        if not len(self.rows):
            raise ValueError("no row of k-space was asked for; expected at least one")
        low, high = self.rows.min().item(), self.rows.max().item()
        if low < 0 or high >= self.shape[0]:
            raise ValueError(
                f"rows {low} to {high} were asked for, but the k-space of {self.shape[0]} x {self.shape[1]} "
                f"pixels has rows 0 to {self.shape[0] - 1}; row {self.shape[0] // 2} is its centre"
            )

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    @property
    def block_shape(self) -> tuple[int, ...]:
        return (self.shape[1],)

    @property
    def settings(self) -> Float[Tensor, " n"]:
        """Row numbers, counted from the top; row h // 2 is the centre."""
        return self.rows.float()

    @property
    def complex_values(self) -> bool:
        return True

    @property
    def kind(self) -> Kind:
        return ROW

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Fourier":
        return Fourier(self.shape, self.rows[index.to(self.rows.device)])

    def at(self, settings: Numbers) -> "Fourier":
        return Fourier(self.shape, settings)

    def __repr__(self) -> str:
        return f"Fourier(shape={self.shape}, rows=<{len(self)} rows>)"

    def forward(self, x: Numbers) -> Complex[Tensor, "b n w"]:
        x = numbers(x)
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])}, but this operator measures {self.image_shape}: "
                "the real and the imaginary part, rows, columns"
            )
        return to_kspace(to_complex(x))[:, self.rows.to(x.device)]

    def adjoint(self, y: Numbers) -> Float[Tensor, "b 2 h w"]:
        y = numbers(y)
        came, expected = tuple(y.shape[1:]), (len(self), self.shape[1])
        if came != expected:
            raise ValueError(f"k-space rows have shape {came}; expected (rows, columns) = {expected}")
        empty = y.new_zeros(len(y), *self.shape)
        return to_channels(from_kspace(empty.index_add(1, self.rows.to(y.device), y)))


def _whole(rows: Numbers) -> Int[Tensor, " n"]:
    given = torch.as_tensor(rows)
    if not torch.equal(given, given.round()):
        raise ValueError(f"rows are {given.tolist()}; k-space is measured in rows of whole numbers")
    return given.long()


def to_complex(x: Float[Tensor, "*b 2 h w"]) -> Complex[Tensor, "*b h w"]:
    """Complex images of their real and imaginary parts."""
    return torch.complex(x[..., 0, :, :], x[..., 1, :, :])


def to_channels(z: Complex[Tensor, "*b h w"]) -> Float[Tensor, "*b 2 h w"]:
    """Real and imaginary part of complex images."""
    return torch.stack([z.real, z.imag], -3)


def to_kspace(z: Complex[Tensor, "*b h w"]) -> Complex[Tensor, "*b h w"]:
    """Centred orthonormal Fourier transform of the last two axes."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(z, axes), norm="ortho"), axes)


def from_kspace(k: Complex[Tensor, "*b h w"]) -> Complex[Tensor, "*b h w"]:
    """The inverse of `to_kspace`, which is also its conjugate transpose."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(k, axes), norm="ortho"), axes)
