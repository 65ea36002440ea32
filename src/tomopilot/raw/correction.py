"""From a measured scan to line integrals, in one call."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import median_abs_deviation

from tomopilot.files.reading import InputFileError
from tomopilot.measure.noise import Gaussian, Noise, Poisson, in_words
from tomopilot.raw.angles import repeated
from tomopilot.raw.axis import find_axis
from tomopilot.raw.counts import Taken, line_integrals_of
from tomopilot.raw.fan_axis import find_fan_axis
from tomopilot.raw.faults import to_quarantine
from tomopilot.raw.records import LineIntegrals, RawScan
from tomopilot.raw.reshape import filled, rebinned, without_stripes

NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True)
class Correction:
    """Flat and dark fields, the logarithm, masks, quarantine, stripes, cropping, binning and the axis.

    Each step is in `LineIntegrals.log`, with its parameters.
    """

    axis: float | None = None  # column of the axis from 0, in the scan; None: as the file says, else found
    crop: tuple[int, int] | None = None  # first column that is kept, and the first after those
    bins: int | None = None  # wanted, of equal width; None: as they are
    stripes: int = 0  # bins over which rings are smoothed away, 0: not at all; 21 to 51 are usual
    drop: float = 0.2  # change of the incident intensity, as a share, that quarantines a projection

    def __call__(
        self, raw: RawScan, rows: slice = slice(None), quarantined: Mapping[int, str] | None = None
    ) -> LineIntegrals:
        """The line integrals of some detector rows.

        quarantined: projections to leave out, as found in other rows; None: those that are faulty in these
        """
        first, stop = self._columns(raw)
        taken, numbers, quarantined = self._taken(raw, rows, quarantined)
        angles, mask = raw.angles[numbers], np.isnan(taken.values)
        values = filled(taken.values, mask)
        if self.stripes:
            values = without_stripes(values, self.stripes)
        column, how = self._axis(raw, values, angles)
        values, mask = values[..., first:stop], mask[..., first:stop]
        bins = self.bins or stop - first
        width = (stop - first) / bins
        if bins != stop - first:
            values, mask = rebinned(values, mask, bins)
            values = filled(values, mask)
        noise = _noise(raw, taken, values, angles, width)
        masked = {what: int(bad.sum()) for what, bad in taken.faults.items() if bad.any()}
        log = {
            "format": raw.format,
            "remarks": list(raw.remarks),
            **taken.log,
            "masked": masked,  # values, or bins in all projections
            "quarantined": len(quarantined),
            "repeated angles": [[int(numbers[i]) for i in pair] for pair in repeated(angles)],
            "stripes": self.stripes,
            "columns": [first, stop],
            "bins": bins,
            "axis": {"column": column, "how": how},
            "noise": in_words(noise),
        }
        size = None if raw.pixel_size is None else raw.pixel_size * width
        offset = (column + 0.5 - first) / width - bins / 2
        return LineIntegrals(
            name=raw.name,
            values=values,
            mask=mask,
            angles=angles,
            numbers=numbers,
            offset=offset,
            noise=noise,
            pixel_size=size,
            fan=raw.fan,
            quarantined=quarantined,
            log=log,
        )

    def _taken(
        self, raw: RawScan, rows: slice, quarantined: Mapping[int, str] | None
    ) -> tuple[Taken, np.ndarray, dict[int, str]]:
        """What is kept of the scan, which projections these are, and why others are left out."""
        if not range(raw.projections.rows)[rows]:
            raise InputFileError(
                f"{raw.name} has the rows 0 to {raw.projections.rows - 1}, and none of them was asked for"
            )
        left_out = dict(raw.quarantined if quarantined is None else quarantined)
        numbers = np.array([i for i in range(len(raw.angles)) if i not in left_out], int)
        taken = line_integrals_of(raw, numbers, rows)
        if quarantined is None:
            monitor = None if raw.monitor is None else raw.monitor[numbers]
            found = to_quarantine(taken.values, taken.faults, raw.angles[numbers], monitor, self.drop)
            left_out |= {int(numbers[i]): why for i, why in found.items()}
            keep = np.array([i not in found for i in range(len(numbers))], bool)
            taken, numbers = taken.only(keep), numbers[keep]
        if len(numbers) and np.isnan(taken.values).all():
            reasons = " and ".join(what for what, bad in taken.faults.items() if bad.any())
            raise InputFileError(f"no value of {raw.name} in these rows is usable: all are {reasons}")
        if not len(numbers):
            reasons = " and ".join(sorted(set(left_out.values()))[:2])
            raise InputFileError(f"all {len(raw.angles)} projections of {raw.name} are unusable: {reasons}")
        return taken, numbers, left_out

    def _columns(self, raw: RawScan) -> tuple[int, int]:
        """First and last column that are kept, the last not included."""
        bins = raw.projections.bins
        first, stop = self.crop or (0, bins)
        if not 0 <= first < stop <= bins:
            raise InputFileError(f"columns {first} to {stop} of {raw.name} were asked for, but it has {bins}")
        if self.bins is not None and not 1 <= self.bins <= stop - first:
            raise InputFileError(
                f"{self.bins} bins were asked for, but {raw.name} has {stop - first} columns; expected 1 to "
                f"{stop - first}"
            )
        return first, stop

    def _axis(self, raw: RawScan, values: np.ndarray, angles: np.ndarray) -> tuple[float, str]:
        """The column of the rotation axis, and how it is known."""
        last = raw.projections.bins - 1
        for column, how in ((self.axis, "as stated"), (raw.axis, "as the file says")):
            if column is not None and not 0 <= column <= last:
                raise InputFileError(
                    f"the rotation axis of {raw.name} is at column {column:g}, {how}; expected 0 to {last}, "
                    "inside the detector: columns count from 0"
                )
            if column is not None:
                return column, how
        try:
            offset, clear = _found(raw, values, angles)
        except InputFileError:
            if raw.fan is None:
                raise
            return last / 2, "not found: the middle of the detector was taken"
        return last / 2 + offset, f"found, {clear:.0f} times better than elsewhere"


def _found(raw: RawScan, values: np.ndarray, angles: np.ndarray) -> tuple[float, float]:
    """Bins from the detector's middle to the axis, and how clearly."""
    if raw.fan is None:
        return find_axis(values, angles)
    if raw.pixel_size is None:
        raise InputFileError(f"the width of the bins of {raw.name} is not known")
    return find_fan_axis(values, angles, raw.fan, raw.pixel_size)


def _noise(raw: RawScan, taken: Taken, values: np.ndarray, angles: np.ndarray, width: float) -> Noise:
    """By the photons of the flats or as the file says, else white noise as neighbouring values show it."""
    if taken.photons is not None:
        return Poisson(taken.photons * width, 1.0)
    if not raw.counts and isinstance(raw.noise, Poisson):
        return Poisson(raw.noise.i0 * width, raw.noise.attenuation)
    if not raw.counts and isinstance(raw.noise, Gaussian):
        return Gaussian(raw.noise.std / math.sqrt(width), raw.noise.floor)
    return Gaussian(_white(values[np.argsort(angles)]))


def _white(values: np.ndarray) -> float:
    """The standard deviation of noise, from second differences along bins and angles: objects have few."""
    weight = 1
    for axis in (0, -1):
        if values.shape[axis] > 2:
            values, weight = np.diff(values, n=2, axis=axis), 6 * weight
    return float(median_abs_deviation(values.ravel())) * NORMAL / math.sqrt(weight)
