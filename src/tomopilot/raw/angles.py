"""Rotation angles with their unit, which is never guessed."""

import numpy as np

from tomopilot.files.reading import InputFileError

UNITS = {"degrees": np.pi / 180, "radians": 1.0}
CLOSE = 0.02  # share by which a range of angles may differ from a half or a full turn
SAME = 5e-6  # radians, an arc second, within which angles are one
HOW = "say which with --angles-in degrees or --angles-in radians (angles_in in Python)"


def radians(angles: np.ndarray, said: str | None, angles_in: str | None) -> np.ndarray:
    """Angles in radians, of those that a file gives in the unit that it says.

    angles_in: "degrees" or "radians" as the user states it, which counts more than the file
    Raises InputFileError where nobody says the unit, and where the file's cannot be meant.
    """
    angles = np.asarray(angles, float).ravel()
    if angles_in is not None:
        if angles_in not in UNITS:
            raise InputFileError(f"angles in {angles_in!r} are not known; expected degrees or radians")
        return angles * UNITS[angles_in]
    unit = known_unit(said or "")
    reach = (
        f"the angles go from {angles.min():g} to {angles.max():g}" if angles.size else "there are no angles"
    )
    if unit is None:
        raise InputFileError(f"{reach}, in the unit {said or 'none'}; expected degrees or radians: {HOW}")
    covered = float(np.ptp(angles)) * len(angles) / max(1, len(angles) - 1) if angles.size else 0.0
    turns = covered / np.pi
    if unit == "degrees" and min(abs(turns - 1), abs(turns - 2)) < CLOSE:
        raise InputFileError(
            f"{reach} and are said to be degrees, but cover what a turn has in radians; {HOW}"
        )
    if unit == "radians" and turns > 4:
        raise InputFileError(f"{reach} and are said to be radians, which are {turns / 2:.0f} turns; {HOW}")
    return angles * UNITS[unit]


def known_unit(text: str) -> str | None:
    """The unit that a name or attribute says; None where it says none.

    >>> known_unit("theta [deg]"), known_unit("angles_rad"), known_unit("theta")
    ('degrees', 'radians', None)
    """
    text = text.lower()
    said = [unit for unit, sign in (("degrees", "deg"), ("radians", "rad")) if sign in text]
    said += ["degrees"] * ("\N{DEGREE SIGN}" in text)
    return said[0] if len(set(said)) == 1 else None


def repeated(angles: np.ndarray, period: float = 2 * np.pi) -> list[tuple[int, int]]:
    """Projections at an angle that an earlier one has, some periods apart or none, each with that one.

    >>> repeated(np.deg2rad([0, 90, 180, 360])), repeated(np.deg2rad([0, 90, 180]), np.pi)
    ([(3, 0)], [(2, 0)])
    """
    turn = np.asarray(angles) % period
    turn[turn > period - SAME] = 0
    order = np.argsort(turn, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(turn[order]) > SAME) + 1)
    return sorted((int(i), int(group.min())) for group in groups for i in group if i != group.min())
