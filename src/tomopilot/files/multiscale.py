"""What OME-Zarr (versions 0.1 to 0.5) says of an image at several scales."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat

from tomopilot.disk import typed
from tomopilot.files.reading import InputFileError


class Axis(BaseModel):
    """One axis of an image."""

    name: str
    unit: str = ""


class Transform(BaseModel):
    """Of a scale: the distance of neighbouring values. Of a translation: nothing that is needed."""

    scale: list[FiniteFloat] = []


class Scale(BaseModel):
    """One array with the image."""

    path: str
    transforms: list[Transform] = Field([], alias="coordinateTransformations")


class Multiscale(BaseModel):
    """An image at several scales, finest first. Versions before 0.3 name no axes: they are always five."""

    axes: list[Axis | str] = ["t", "c", "z", "y", "x"]
    scales: list[Scale] = Field(alias="datasets", min_length=1)
    transforms: list[Transform] = Field([], alias="coordinateTransformations")

    @property
    def named(self) -> tuple[Axis, ...]:
        return tuple(axis if isinstance(axis, Axis) else Axis(name=axis) for axis in self.axes)

    def steps(self, scale: Scale) -> tuple[float, ...]:
        """The distance of neighbours along each axis, in its unit; 0 where it is not said."""
        factors = [one.scale for one in (*scale.transforms, *self.transforms) if one.scale]
        if any(len(steps) != len(self.axes) for steps in factors):
            raise InputFileError(
                f"its scale {scale.path} has {factors} for {len(self.axes)} axes; expected one each"
            )
        found = [1.0 if factors else 0.0] * len(self.axes)
        for steps in factors:
            found = [before * step for before, step in zip(found, steps, strict=True)]
        return tuple(found)


def multiscale_of(attributes: Mapping[str, Any]) -> Multiscale | None:
    """The image that the attributes of a group describe, if they describe one."""
    said = attributes.get("ome", attributes)
    images = said.get("multiscales") if isinstance(said, Mapping) else None
    if not images:
        return None
    if not isinstance(images, list) or len(images) != 1:
        raise InputFileError("its multiscales describe several images; expected one: name an array inside")
    return typed(Multiscale, json.dumps(images[0]), "its multiscales")
