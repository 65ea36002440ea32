"""The settings of an earlier run, to be measured again in the same order."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from tomopilot.disk import read_text, typed

Setting = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Recorded(BaseModel):
    """One scan of a summary, as far as it is replayed."""

    image: str
    posterior: str
    policy: str
    settings: Annotated[list[Setting], Field(max_length=10**6)]  # in the order measured, as shown

    @property
    def method(self) -> str:
        return f"{self.posterior}+{self.policy}"


class Summary(BaseModel):
    """The part of a `summary.json` that is replayed."""

    images: list[Recorded]


def recorded_settings(source: str, image: str) -> list[float]:
    """Settings in the order measured, of the scan of `image` (its name in tables) in a run's `summary.json`.

    `source` is the file or its folder; where the run has several methods, `::posterior+policy` names one.
    """
    place, _, method = source.partition("::")
    path = Path(place) / "summary.json" if Path(place).is_dir() else Path(place)
    try:
        scans = typed(Summary, read_text(path), "it").images
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no summary of a run to replay ({error}); name its summary.json or folder"
        ) from None
    found = [scan.settings for scan in scans if scan.image == image and method in ("", scan.method)]
    if len(found) != 1:
        known = sorted({scan.method for scan in scans})
        raise ValueError(
            f"{path} holds {len(found)} scans of {image!r} by {method or 'any method'}; expected one: "
            f"name the method, as in replay:FILE::{known[0] if known else 'auto+variance'}"
        )
    return found[0]
