"""Arrays as .npy files that came over the network."""

import io
import math

import numpy as np

from tomopilot.live.detector import KINDS

VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = 10_000  # bytes


def array_of(content: bytes) -> np.ndarray:
    """The array of an .npy file; raises ValueError where it is none, or holds other than numbers.

    Nothing is set aside before the file is found to be as long as it says.
    """
    file = io.BytesIO(content)
    try:
        read = VERSIONS[np.lib.format.read_magic(file)]
        shape, by_columns, dtype = read(file, HEADER)
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("the body is no .npy file; send what numpy.save writes") from None
    if dtype.kind not in KINDS:
        raise ValueError(f"the array holds {dtype}; expected integers or real numbers")
    count, start = math.prod(shape), file.tell()
    if not count or min(shape) < 0 or count * dtype.itemsize != len(content) - start:
        came = len(content) - start
        raise ValueError(f"{came} bytes follow the header, but it says {dtype} of shape {shape}")
    array = np.frombuffer(content, dtype, count, start)
    return array.reshape(shape, order="F" if by_columns else "C")
