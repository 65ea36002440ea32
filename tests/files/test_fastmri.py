from functools import partial

import h5py
import numpy as np
import pytest
import torch
from samples import mri_volume, save_fastmri

from tomopilot.files.fastmri import check_centred
from tomopilot.files.images import read_images
from tomopilot.files.reading import InputFileError
from tomopilot.measure.fourier import Fourier, to_channels

SHAPES = [(16, 16), (15, 16), (16, 13), (15, 13)]


def blob(shape) -> torch.Tensor:
    h, w = shape
    down, right = torch.arange(h)[:, None] - h / 2.5, torch.arange(w) - w / 2
    magnitude = torch.exp(-(down.square() + right.square()) / 20)
    return torch.stack([magnitude * torch.cos(down / 5), magnitude * torch.sin(down / 5)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coils", [False, True])
def test_our_own_kspace_is_centred_and_a_shifted_one_is_not(shape, coils):
    kspace = Fourier(shape).forward(blob(shape)[None])[0].numpy()
    kspace = np.stack([kspace, 0.5 * kspace]) if coils else kspace
    check_centred(kspace)
    with pytest.raises(ValueError, match=r"in row (0|1|14|15),.*about row (7|8), column (6|8).*not centred"):
        check_centred(np.fft.ifftshift(kspace, axes=(-2, -1)))


@pytest.mark.parametrize("bad", [np.zeros((8, 8)), np.zeros((2, 8), complex), np.zeros(8, complex)])
def test_what_cannot_be_kspace_is_refused(bad):
    with pytest.raises(ValueError, match="expected complex"):
        check_centred(bad)


@pytest.mark.parametrize("value", [0, np.nan])
def test_kspace_without_energy_is_refused(value):
    with pytest.raises(ValueError, match="empty or"):
        check_centred(np.full((8, 8), value, complex))


@pytest.fixture
def fastmri(tmp_path):
    """Writes a file of the single-coil layout; data sets may be changed, added, or left out with None."""
    return partial(save_fastmri, tmp_path / "file1000001.h5")


def test_slices_are_the_images_the_file_was_made_of(fastmri):
    path = fastmri()
    images = read_images(str(path))
    assert [image.name for image in images] == [f"file1000001.h5::{i}" for i in range(3)]
    with h5py.File(path) as file:
        target = file["reconstruction_esc"][1]
    assert images[1].pixels.shape == (24, 24) and images[1].pixels.is_complex()
    scaled = target / np.percentile(target, 99.8)
    torch.testing.assert_close(images[1].shown, torch.from_numpy(scaled).T, rtol=1e-4, atol=1e-5)
    phase = np.angle(mri_volume()[1, 8:32].T)
    strong = scaled.T > 0.1
    assert np.abs(np.exp(1j * phase) - np.exp(1j * images[1].pixels.angle().numpy()))[strong].max() < 1e-3
    (alone,) = read_images(f"{path}:/kspace::1")
    assert torch.equal(alone.pixels, images[1].pixels)


def test_a_row_of_the_image_is_one_phase_encoding_step(fastmri):
    """Only the phase encoding is left out when some columns of the file's k-space are."""
    path = fastmri(reconstruction_esc=None, reconstruction_rss=None)
    with h5py.File(path, "r+") as file:
        file["kspace"][:, :, :4] = 0
    (image, *_) = read_images(str(path))
    rows = Fourier((24, 24)).forward(to_channels(image.pixels)[None])[0]
    assert rows[:4].abs().max() < 1e-3 * rows.abs().max()


BAD = {
    "4 coils": {"kspace": np.zeros((2, 4, 16, 16), np.complex64)},
    "expected complex": {"kspace": np.zeros((2, 16, 16), np.float32)},
    "measured in part": {"mask": np.ones(24, bool)},
    "a mask, so": {"mask": h5py.ExternalLink("elsewhere.h5", "/mask")},
    "reconstruction_esc leads to another": {
        "reconstruction_esc": h5py.ExternalLink("elsewhere.h5", "/image"),
    },
    "kspace leads to another file": {"kspace": h5py.ExternalLink("elsewhere.h5", "/kspace")},
    "larger than its k-space": {"reconstruction_esc": np.zeros((3, 64, 64), np.float32)},
    "apply fftshift": {"kspace": np.fft.fft2(mri_volume()).astype(np.complex64)},
    "empty or": {"kspace": np.zeros((2, 40, 24), np.complex64)},
}


@pytest.mark.parametrize("words", BAD)
def test_other_kspace_is_refused_in_words(fastmri, words):
    path = fastmri(**BAD[words])
    with pytest.raises(InputFileError, match=f"file1000001.h5: .*{words}"):
        read_images(str(path))


def test_the_target_can_be_read_by_name(fastmri):
    images = read_images(f"{fastmri()}:/reconstruction_esc")
    assert len(images) == 3 and not images[0].pixels.is_complex()
