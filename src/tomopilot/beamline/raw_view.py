"""A frame as people look at it: small, with a count of what is wrong with it."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from tomopilot.live.detector import KINDS, Detector, Fields, Unusable

SIDE = 512  # values at most, either way


class Raw(NamedTuple):
    """A frame, averaged down, and how many of its values are flagged."""

    values: np.ndarray  # (rows, columns) float32
    saturated: int
    bad: int  # for any other reason


def raw_view(detector: Detector, frames: np.ndarray, fields: Fields | None, row: int | None) -> Raw:
    """A frame (rows, columns), or (columns,), or the mean of several (n, rows, columns); one row, or all.

    fields: by which single values are judged, too; raises `Unusable` where this is no frame
    """
    frames = np.atleast_2d(frames)
    if frames.ndim > 3 or not frames.size or frames.dtype.kind not in KINDS:
        raise Unusable(f"this is {frames.dtype} of shape {frames.shape}, which cannot be shown as a frame")
    rows = slice(None) if row is None else slice(row, row + 1)
    saturated, bad = (flags[..., rows, :] for flags in _flagged(detector, frames, fields))
    shown = frames.reshape(-1, *frames.shape[-2:])[:, rows].astype(np.float32).mean(0)
    side = (min(SIDE, shown.shape[0]), min(SIDE, shown.shape[1]))
    small = adaptive_avg_pool2d(torch.from_numpy(shown)[None], side)[0]
    return Raw(small.numpy(), int(saturated.sum()), int((bad & ~saturated).sum()))


def _flagged(detector: Detector, frames: np.ndarray, fields: Fields | None) -> tuple[np.ndarray, np.ndarray]:
    """Where values are saturated, and where they cannot be used."""
    if frames.shape == detector.shape and (fields or not detector.setup.counts):
        faults = detector.faults(frames, fields)
        return faults.pop("saturated", np.zeros(frames.shape, bool)), np.logical_or.reduce([*faults.values()])
    top = np.iinfo(frames.dtype).max if frames.dtype.kind in "ui" else np.inf
    return frames >= (detector.setup.ceiling or top), ~np.isfinite(frames)
