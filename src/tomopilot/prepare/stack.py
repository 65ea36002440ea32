"""The process stack of a chip: at which height each drawn layer lies; a small TOML file."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import ndtr

from tomopilot.disk import read_text, typed

INSIDE = 0.85  # share of slices whose height is inside a metal level
Positive = Annotated[float, Field(gt=0, lt=1e4)]


class Layer(BaseModel):
    """A drawn layer: its numbers in the layout, and from where to where it is metal, in um."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    gds: tuple[int, int]  # layer, datatype
    bottom_um: float
    top_um: float
    via: bool = False  # between two metal levels

    @model_validator(mode="after")
    def _upright(self) -> "Layer":
        if not self.bottom_um < self.top_um:
            raise ValueError(f"{self.name} goes from {self.bottom_um:g} up to {self.top_um:g} um")
        return self


class Stack(BaseModel):
    """All layers, and the resolution that slices are shown with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pixel_um: Positive  # of a slice before it is rescaled
    axial_um: Positive = 0.1  # sigma of the resolution along the height
    in_plane: Positive = 0.8  # sigma of the resolution in the plane, pixels
    layer: list[Layer]

    @model_validator(mode="after")
    def _with_metal(self) -> "Stack":
        if not self.metals:
            raise ValueError("it has no layer that is metal (via = false)")
        return self

    @property
    def metals(self) -> list[Layer]:
        return [layer for layer in self.layer if not layer.via]

    def weights(self, height: float) -> dict[Layer, float]:
        """The share of each layer in a slice at a height in um, where it is more than next to nothing."""
        shares = {
            layer: float(
                np.diff(ndtr((np.array([layer.bottom_um, layer.top_um]) - height) / self.axial_um))[0]
            )
            for layer in self.layer
        }
        return {layer: share for layer, share in shares.items() if share > 1e-4}

    def height(self, rng: np.random.Generator) -> float:
        """A height to slice at: mostly inside a metal level, else anywhere from the lowest to the highest."""
        level = self.metals[rng.integers(len(self.metals))]
        if rng.random() < INSIDE:
            return rng.uniform(level.bottom_um, level.top_um)
        return rng.uniform(
            min(level.bottom_um for level in self.metals), max(level.top_um for level in self.metals)
        )


def read_stack(path: Path) -> Stack:
    """The process stack in a TOML file; `recipes/stacks` holds examples."""
    try:
        return typed(Stack, json.dumps(tomllib.loads(read_text(path))), "it")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"the process stack {path} cannot be used ({error}); see recipes/stacks/sky130.toml"
        ) from None
