"""LoDoPaB-CT (Leuschner et al., Scientific Data 8, 109, 2021): its scaling of attenuation, and its files."""

import h5py
import numpy as np

from tomopilot.files.reading import Found, InputFileError, Pick, stack

UNIT = "linear attenuation / 81.35858 per metre"
SIDE = 362  # pixels of an image
PIXEL = 0.26 / SIDE  # metres
SINOGRAM = (1000, 513)  # angles, detector bins
TURNED = "LoDoPaB-CT images, stored transposed with respect to DICOM, are turned back"


def attenuation(hounsfield: np.ndarray) -> np.ndarray:
    """Linear attenuation in [0, 1] by CT numbers: water 20 and air 0.02 per metre."""
    return np.clip((hounsfield * 19.98 / 1000 + 20) / 81.35858, 0, 1)


def is_lodopab(node: h5py.Dataset) -> bool:
    """Whether a data set is laid out as those of the archive: float32 `data`, alone in its file."""
    alone = set(node.file) == {"data"} and node.name == "/data"
    return alone and node.dtype == np.float32 and node.shape[1:] in ((SIDE, SIDE), SINOGRAM)


def slices_of(node: h5py.Dataset, pick: Pick) -> Found:
    """The images that were picked, with rows as in DICOM: a chest lies on its back."""
    if node.shape[1:] == SINOGRAM:
        raise InputFileError(
            f"it has {len(node)} sinograms of LoDoPaB-CT (observations); expected images: name the file "
            "ground_truth_... of the same number"
        )
    found = [(i, image.T) for i, image in stack(node, pick)]
    return Found(found, PIXEL, UNIT, (TURNED,))
