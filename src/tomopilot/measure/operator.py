"""The contract of everything that measures."""

import abc
from copy import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from tomopilot.measure.kind import SETTING, Kind

Numbers = Any  # a tensor, a NumPy array or a list of numbers


def numbers(values: Numbers) -> Inexact[Tensor, "*any"]:
    """Measured numbers, angles or images as a tensor that can be computed with.

    Tensors of single and double precision stay as they are; NumPy arrays, lists, whole numbers and half
    precision become single precision.
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{array.dtype} came; expected numbers: a tensor, a NumPy array or a list")
        values = torch.as_tensor(array.astype(np.complex64 if array.dtype.kind == "c" else np.float32))
    if values.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        return values
    return values.to(torch.complex64 if values.is_complex() else torch.float32)


class Operator(abc.ABC):
    """The linear measurements one could take of an image: one block of numbers per design."""

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, e.g. (h, w)."""

    @property
    @abc.abstractmethod
    def settings(self) -> Float[Tensor, "n *setting"]:
        """What the hardware is told for each design: radians for a rotation, row numbers for k-space."""

    @abc.abstractmethod
    def __getitem__(self, index: Int[Tensor, " m"]) -> "Operator":
        """The same operator with fewer designs, or the same ones in another order."""

    def at(self, settings: Numbers) -> "Operator":
        """The same geometry at other settings, as read back from a motor; override if there are others.

        An operator that has no others finds its designs by their settings and raises ValueError elsewhere.
        """
        wanted = numbers(settings).to(self.settings)
        alike = (self.settings == wanted[:, None]).reshape(len(wanted), len(self), -1).all(2)
        if not bool(alike.any(1).all()):
            strange = wanted[~alike.any(1)][0].tolist()
            raise ValueError(
                f"{self!r} cannot measure at the setting {strange}; its settings are fixed, see `settings`"
            )
        return self[alike.int().argmax(1)]

    @abc.abstractmethod
    def forward(self, x: Float[Tensor, "b *image"]) -> Inexact[Tensor, "b n *block"]:
        """All measurements of a batch of images."""

    def adjoint(self, y: Inexact[Tensor, "b n *block"]) -> Float[Tensor, "b *image"]:
        """The transpose of `forward`, exact because it is its derivative; override for speed only."""
        twice = torch.is_grad_enabled() and y.requires_grad
        with torch.enable_grad():
            dtype = y.real.dtype  # images are real, also those that complex numbers are measured of
            x = torch.zeros(len(y), *self.image_shape, dtype=dtype, device=y.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self.forward(x), x, y, create_graph=twice)
        return gradient

    def images(self, x: Numbers) -> Float[Tensor, "b *image"]:
        """These as images that this operator measures; ValueError where their shape is another."""
        x = numbers(x)
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])}, but {self!r} measures images of {self.image_shape}"
            )
        return x

    @property
    def device(self) -> torch.device:
        return self.settings.device

    def to(self, device: torch.device | str) -> "Operator":
        """The same operator with its tensors on another device."""
        moved = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Shape of one design's measurement."""
        return tuple(self._first().shape[2:])

    @property
    def complex_values(self) -> bool:
        """Whether complex numbers are measured."""
        return self._first().is_complex()

    def _first(self) -> Inexact[Tensor, "1 1 *block"]:
        """What the first design reads of an empty image."""
        first = self[torch.zeros(1, dtype=torch.long)]
        return first.forward(torch.zeros(1, *self.image_shape, device=self.device))

    @property
    def kind(self) -> Kind:
        """What a measurement is called, the unit of its setting as `shown`, how an image is shown."""
        return SETTING

    @property
    def shown(self) -> Float[Tensor, "n *setting"]:
        """The settings as people read them, in files and tables."""
        return self.settings

    def __len__(self) -> int:
        return len(self.settings)
