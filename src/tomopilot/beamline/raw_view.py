"""A frame as people look at it: small, with a count of what is wrong with it."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from tomopilot.live.detector import Detector, Fields

SIDE = 512  # values at most, either way


class Raw(NamedTuple):
    """A frame, averaged down, and its flagged values."""

    values: np.ndarray  # (rows, columns) float32
    saturated: int
    bad: int


def raw_view(detector: Detector, frames: np.ndarray, fields: Fields | None, row: int | None) -> Raw:
    """A frame (rows, columns), or (columns,), or the mean of several (n, rows, columns); one row, or all."""
    frames = np.asarray(frames)
    frames = frames.reshape(-1, *frames.shape[-2:]) if frames.ndim > 1 else frames[None, None]
    whole = slice(None) if row is None else slice(row, row + 1)
    bad = ~np.isfinite(frames)
    mean = torch.from_numpy(frames[:, whole].astype(np.float32).mean(0))
    small = adaptive_avg_pool2d(mean[None], tuple(min(SIDE, n) for n in mean.shape))[0]
    return Raw(small.numpy(), 0, int(bad.sum()))
