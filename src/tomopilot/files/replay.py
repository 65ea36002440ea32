"""The settings of an earlier run, to be measured again in the same order."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, FiniteFloat

from tomopilot.disk import read_text, typed

Design = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Setting = Annotated[FiniteFloat, Field(strict=True)]


class Scan(BaseModel):
    """What a summary says of one scan, as far as it is repeated."""

    image: str
    posterior: str
    policy: str
    designs: Annotated[list[Design], Field(min_length=1)]
    settings: Annotated[list[Setting], Field(min_length=1)]
    setting_unit: str = "degrees"

    @property
    def method(self) -> str:
        return f"{self.posterior}+{self.policy}"


class Summary(BaseModel):
    images: list[Scan]


def recorded_settings(source: str, image: str) -> tuple[list[float], str]:
    """Settings in the order measured, and their unit, of the scan of `image` in a run's `summary.json`.

    `source` is the file or its folder, `image` a name in its tables; where the run has several methods,
    `::posterior+policy` names one. Settings are those of the instrument, such as angles in degrees: the run
    that follows may have other candidates.
    """
    place, _, method = source.partition("::")
    path = Path(place) / "summary.json" if Path(place).is_dir() else Path(place)
    try:
        scans = typed(Summary, read_text(path), "it").images
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no summary of a run to replay ({error}); name its summary.json or folder"
        ) from None
    found = [scan for scan in scans if scan.image == image and method in ("", scan.method)]
    if len(found) != 1:
        known = scans[0].method if scans else "auto+variance"
        raise ValueError(
            f"{path} holds {len(found)} scans of {image!r} by {method or 'any method'}; expected one: "
            f"name the method, as in replay:FILE::{known}"
        )
    (scan,) = found
    if len(scan.designs) != len(scan.settings):
        raise ValueError(
            f"{path} has {len(scan.designs)} designs, but {len(scan.settings)} settings; expected as many"
        )
    return scan.settings, scan.setting_unit
