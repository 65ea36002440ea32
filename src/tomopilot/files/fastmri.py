"""Measured k-space as fastMRI files hold it: complex images, of one receiver coil."""

import h5py
import numpy as np

from tomopilot.files.reading import InputFileError, Pages, Pick, local_dataset

KSPACE = "kspace"
TARGET = "reconstruction_esc"
SHARP = 0.02  # k-space is bright in less than this share of the area that its image is bright in
WHITE = 99.8  # percentile of an image's magnitude that becomes 1, as in the brain prior's training


def slices_of(file: h5py.File, kspace: h5py.Dataset, pick: Pick) -> Pages:
    """Complex images of the slices that were picked, each read and transformed by itself.

    kspace is (slices, readout, phase encoding), centred and fully measured. An image is the centre of its
    inverse transform, as large as the file's own reconstruction, else square; its magnitude is divided by its
    99.8 percentile. It is transposed, so that a row of its k-space is one phase-encoding step.
    """
    if kspace.ndim == 4:
        raise InputFileError(
            f"its k-space is {kspace.shape}, of {kspace.shape[1]} coils; expected one coil: (slices, h, w)"
        )
    if kspace.ndim != 3 or kspace.dtype.kind != "c" or 0 in kspace.shape:
        raise InputFileError(
            f"its k-space is {kspace.dtype} {kspace.shape}; expected complex (slices, readout, phase steps)"
        )
    names = set(file)  # also of links, which `in file` follows
    if "mask" in names:
        raise InputFileError("it has a mask, so k-space was measured in part; expected a complete one")
    square = (min(kspace.shape[1:]),) * 2
    size = local_dataset(file, TARGET).shape[-2:] if TARGET in names else square
    if size[0] > kspace.shape[1] or size[1] > kspace.shape[2]:
        raise InputFileError(f"its reconstruction is {size}, larger than its k-space {kspace.shape[1:]}")
    return [(i, _image(np.asarray(kspace[i]), size)) for i in pick(len(kspace))]


def _image(kspace: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    check_centred(kspace)
    image = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho"))
    first = [(whole - part) // 2 for whole, part in zip(image.shape, size, strict=True)]
    image = image[first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
    return image.T / np.percentile(np.abs(image), WHITE)


def check_image(number: int, pixels: np.ndarray) -> None:
    """Raises on k-space that was given for an image: a few bright pixels, whose transform fills its area."""
    if pixels.any() and _area(pixels) < SHARP * _area(np.fft.ifft2(pixels)):
        raise InputFileError(
            f"image {number} looks like k-space, whose energy is in a few pixels; expected a complex image: "
            f"save the inverse transform, or k-space of one coil as the data set {KSPACE} (slices, readout, "
            "phase steps) of an .h5 file, which is read as fastMRI's are; --operator mri scans either"
        )


def _area(image: np.ndarray) -> float:
    """The share of the area that holds the energy: 1 where it is even, 1 / pixels where one has all."""
    energy = (np.abs(image) / np.abs(image).max()).astype(float) ** 2
    return float(energy.mean() ** 2 / (energy**2).mean())


def check_centred(kspace: np.ndarray) -> None:
    """Raises unless most energy of k-space (..., h, w) is about row h // 2, column w // 2.

    The quarter of the area about the centre is compared with the quarter about the corners.
    """
    if not np.iscomplexobj(kspace) or kspace.ndim < 2 or min(kspace.shape[-2:]) < 4:
        raise InputFileError(
            f"k-space is {kspace.dtype} {kspace.shape}; expected complex (..., rows, columns), at least 4 x 4"
        )
    energy = np.abs(kspace).astype(float) ** 2
    energy = energy.sum(tuple(range(kspace.ndim - 2)))
    if not np.isfinite(energy).all() or not energy.any():
        raise InputFileError(
            "k-space is empty or has values that are NaN or infinite; was it read completely?"
        )
    h, w = energy.shape
    centre = energy[h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2].sum()
    moved = np.fft.ifftshift(energy)
    corners = moved[h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2].sum()
    if corners > centre:
        row, column = np.unravel_index(int(energy.argmax()), energy.shape)
        raise InputFileError(
            f"k-space is strongest in row {row}, column {column} and the corners; expected was "
            f"about row {h // 2}, column {w // 2}: it is not centred; apply fftshift to its last two axes"
        )
