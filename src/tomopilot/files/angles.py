"""Rotation angles from a text file."""

import math
from pathlib import Path

import torch

from tomopilot.disk import read_text
from tomopilot.files.reading import InputFileError, naming
from tomopilot.measure.angles import is_round


def read_angles(path: Path) -> tuple[float, ...]:
    """Degrees in the order of the file, separated by spaces, commas or lines; a # begins a remark.

    Raises InputFileError on what is no list of numbers, and on numbers that can only be radians.
    """
    with naming(str(path)):
        lines = [line.partition("#")[0] for line in read_text(path).splitlines()]
        words = " ".join(lines).replace(",", " ").split()
        try:
            angles = tuple(map(float, words))
        except ValueError as error:
            raise InputFileError(f"{error}; expected angles in degrees, one a line") from None
        if not angles or not all(map(math.isfinite, angles)):
            raise InputFileError(f"it has {len(angles)} angles; expected one or more finite ones, in degrees")
        if max(map(abs, angles)) <= 2 * math.pi + 1e-3 and not is_round(torch.tensor(angles)):
            raise InputFileError(
                f"its angles go from {min(angles):g} to {max(angles):g}, which looks like radians; expected "
                "degrees"
            )
        return angles
