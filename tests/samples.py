"""Small files in the formats that people bring, and what is in them, for tests."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tomopilot.files.images import read_images
from tomopilot.files.nexus import ScanFile
from tomopilot.files.reading import InputFileError
from tomopilot.simulate.phantoms import chip

STACK = np.random.default_rng(0).integers(0, 256, (8, 5, 6), dtype=np.uint8)
GREY = {"photometric": "minisblack"}  # how tifffile is told that values are no colours
WATER, PER_HU = 20 / 81.35858, 0.01998 / 81.35858  # LoDoPaB-CT scaling

TINY_TRAINING = """
[training]
network = { fold = 2, widths = [8, 8], layers = 1, groups = 4 }
batch = 2
crop = 16
steps = 2
save_every = 1
validate_every = 1
"""


def expected(array: np.ndarray) -> torch.Tensor:
    """What is read of stored values: integers over the largest of their type."""
    largest = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    return torch.from_numpy((array / np.float64(largest)).astype(np.float32))


def filling(array: np.ndarray, dtype: str) -> np.ndarray:
    """8-bit values as another type, over all of its range where that is integers."""
    kind = np.dtype(dtype)
    return array.astype(kind) * kind.type(np.iinfo(kind).max // 255 if kind.kind in "iu" else 1)


def refusal(spec: object) -> str:
    """Why images cannot be read."""
    with pytest.raises(InputFileError) as caught:
        read_images(str(spec))
    return str(caught.value)


def assert_read(spec: object, arrays: Sequence[np.ndarray] | np.ndarray) -> None:
    """Images are read as they were stored, to the last bit."""
    found, wanted = [image.pixels for image in read_images(str(spec))], [expected(array) for array in arrays]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def save_h5(path: Path, **arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def save_png(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def save_pages(path: Path, array: np.ndarray) -> None:
    """A multi-page TIFF without tifffile's own note of the stack's shape."""
    first, *rest = [Image.fromarray(page) for page in array]
    first.save(path, save_all=True, append_images=rest)


SAVE_STACK = {
    "a.npy": np.save,
    "a.npz": lambda path, array: np.savez_compressed(path, images=array, source=np.arange(8)),
    "lone.npz": lambda path, array: np.savez(path, anything=array),
    "a.tif": lambda path, array: tifffile.imwrite(path, array, **GREY),
    "pages.TIFF": save_pages,
    "a.h5": lambda path, array: save_h5(path, **{"deep/down": array, "angles": np.arange(8.0)}),
    "a.nxs": lambda path, array: save_h5(path, images=array),
}


def save_tifs(folder: Path, array: np.ndarray, **options) -> Path:
    """A file a slice, with numbers that do not sort as text."""
    folder.mkdir()
    for i, image in enumerate(array):
        tifffile.imwrite(folder / f"slice{i + 7}.tif", image, **GREY, **options)
    return folder


def save_dicoms(folder: Path, array: np.ndarray, *, step: float = 2.5, **tags) -> Path:
    """Axial slices of one series, from foot to head, whose names are in another order."""
    folder.mkdir()
    for i, image in enumerate(array):
        place = {
            "ImagePositionPatient": [-10, -10, step * i - 40],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }
        save_dicom(folder / f"{(5 * i) % 8}.dcm", image, **{"SeriesInstanceUID": "1.2.4", **place, **tags})
    return folder


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields) -> None:
    """A volume (x, y, z) in mm, by default to the left, to the back and upwards; header fields may change."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(array, np.diag([-2.0, -2.0, 3.0, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)


def save_vgi(path: Path, array: np.ndarray, **changes) -> Path:
    """A volume (z, y, x) in a raw file beside its description, of which words may be changed."""
    path.with_suffix(".vol").write_bytes(array.tobytes())
    said = {
        "size": " ".join(map(str, array.shape[::-1])),
        "kind": "float" if array.dtype.kind == "f" else "unsigned integer",
        "bits": 8 * array.dtype.itemsize,
        "name": path.with_suffix(".vol").name,
        "skip": 0,
        "resolution": "0.05 0.05 0.1",
        "unit": "mm",
        **changes,
    }
    path.write_text(VGI.format(**said), newline="\r\n")
    return path


VGI = """{{volume1}}
[representation]
size = {size}
datatype = {kind}
bitsperelement = {bits}
[file1]
SkipHeader = {skip}
FileFormat = raw
Size = {size}
Name = {name}
Datatype = {kind}
BitsPerElement = {bits}
{{volumeprimitive12}}
[geometry]
resolution = {resolution}
unit = {unit}
"""


def save_zarr(folder: Path, array: np.ndarray, *, version: int = 3, **options) -> Path:
    """An array of one chunk a slice; `options` are those of zarr."""
    zarr = pytest.importorskip("zarr")
    chunks = options.pop("chunks", (1, *array.shape[1:]))
    made = zarr.create_array(
        folder, shape=array.shape, dtype=array.dtype, chunks=chunks, zarr_format=version, **options
    )
    made[:] = array
    return folder


def save_ome(
    folder: Path, array: np.ndarray, *, axes: str = "zyx", unit: str = "micrometer", **changes
) -> Path:
    """An OME-Zarr image (version 0.4) of two scales; what its metadata say of it may be changed."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    scales = []
    for level, each in enumerate((1, 2)):
        part = array[tuple(slice(None, None, each if name in "yx" else 1) for name in axes)]
        group.create_array(f"s{level}", shape=part.shape, dtype=part.dtype, chunks=part.shape)[:] = part
        steps = [0.5 * each if name in "yx" else 1.0 for name in axes]
        scales.append({"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": steps}]})
    named = [{"name": name, "type": "space", "unit": unit} for name in axes]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": named, "datasets": scales, **changes}]
    return folder


def save_dicom(path: Path, stored: np.ndarray, **tags) -> None:
    """An axial CT slice; tags may be changed or added."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "CT", 2, -1024
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *stored.shape, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path, enforce_file_format=True)


def mri_volume(slices: int = 3, shape: tuple[int, int] = (40, 24)) -> np.ndarray:
    """Complex images as a scanner sees them: twice as high as they need be, and weak."""
    z, y, x = np.ogrid[:slices, : shape[0], : shape[1]]
    magnitude = np.exp(-((y - 18) ** 2 / (20 + z) + (x - 10) ** 2 / 30)) * 1e-4
    return magnitude * np.exp(1j * (0.2 * x + 0.1 * y))


def save_fastmri(path: Path, **changes) -> Path:
    """A single-coil file of fastMRI; data sets may be changed, added, or left out with None."""
    images, axes = mri_volume(), (-2, -1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)
    esc = np.abs(images[:, 8:32]).astype(np.float32)
    parts = {"kspace": kspace.astype(np.complex64), "reconstruction_esc": esc, "reconstruction_rss": esc}
    with h5py.File(path, "w") as file:
        for name, values in {**parts, **changes}.items():
            if values is not None:
                file[name] = values
        file["ismrmrd_header"] = np.bytes_(b"<xml/>")
        file.attrs.update(acquisition="CORPD_FBK", max=1.0, norm=1.0, patient_id="0")
    return path


DISCS = (  # x, y, radius in half widths of the detector, attenuation over the half width
    (0.05, 0.1, 0.55, 0.5),
    (-0.2, 0.25, 0.2, 0.8),
    (0.3, -0.15, 0.12, -0.5),
    (-0.1, -0.3, 0.1, 1.0),
)


def disc_projections(angles: np.ndarray, bins: int, offset: float = 0.0) -> np.ndarray:
    """Line integrals (n, bins) of some discs; the axis is `offset` bins beyond the detector's middle."""
    return disc_lines(angles[:, None], (np.arange(bins) - (bins - 1) / 2 - offset) / (bins / 2))


def disc_lines(angles: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Integrals of the discs along lines: the angles of their normals, and how far they are from the axis."""
    total = np.zeros(np.broadcast_shapes(angles.shape, places.shape))
    for x, y, radius, attenuation in DISCS:
        away = places - (x * np.cos(angles) + y * np.sin(angles))
        total += 2 * attenuation * np.sqrt(np.clip(radius**2 - away**2, 0, None))
    return total


def counted(lines: np.ndarray, photons: float = 4000, dark: float = 100, seed: int = 0) -> np.ndarray:
    """Counts of line integrals, 16 bits: Poisson, above a dark level."""
    random = np.random.default_rng(seed)
    return (dark + random.poisson(photons * np.exp(-lines))).astype(np.uint16)


def nxtomo_parts(count: int = 90, rows: int = 2, bins: int = 64, offset: float = 2.3) -> dict[str, object]:
    """A scan of a half turn with two darks and five flats before it, three flats after it."""
    angles = np.arange(count) * 180 / count
    lines = disc_projections(np.deg2rad(angles), bins, offset)
    lines = np.repeat(lines[:, None], rows, 1)
    before, after = np.zeros((5, rows, bins)), np.zeros((3, rows, bins))
    frames = counted(np.concatenate([before, lines, after]))
    darks = np.full((2, rows, bins), 100, np.uint16)
    keys = np.repeat([2, 1, 0, 1], [2, 5, count, 3])
    turned = np.zeros(len(keys))
    turned[keys == 0] = angles
    return {
        "definition": "NXtomo",
        "sample/name": "discs",
        "sample/rotation_angle": turned,
        "instrument/detector/data": np.concatenate([darks, frames]),
        "instrument/detector/image_key": keys,
        "instrument/detector/x_pixel_size": 2.5,
    }


UNITS = {"sample/rotation_angle": "degree", "instrument/detector/x_pixel_size": "um"}


def save_nxtomo(path: Path, entry: str = "entry", **changes) -> Path:
    """An NXtomo file; places in it may be changed or added, or left out with None."""
    parts = nxtomo_parts() | changes
    with h5py.File(path, "w") as file:
        for place, value in parts.items():
            if value is not None:
                file[f"{entry}/{place}"] = value
                if place in UNITS:
                    file[f"{entry}/{place}"].attrs["units"] = UNITS[place]
    return path


def save_dataexchange(path: Path, **changes) -> Path:
    """The same scan as a Data Exchange file, with all flats in one data set."""
    parts = nxtomo_parts()
    keys, frames = parts["instrument/detector/image_key"], parts["instrument/detector/data"]
    own = {
        "exchange/data": frames[keys == 0],
        "exchange/data_white": frames[keys == 1],
        "exchange/data_dark": frames[keys == 2],
        "exchange/theta": parts["sample/rotation_angle"][keys == 0],
        "implements": "exchange:measurement",
    }
    with h5py.File(path, "w") as file:
        for place, value in (own | changes).items():
            if value is not None:
                file[place] = value
    return path


def save_series(folder: Path, every: int = 3) -> Path:
    """The same scan as a folder of TIFF files, of every third angle."""
    parts = nxtomo_parts()
    keys, frames = parts["instrument/detector/image_key"], parts["instrument/detector/data"]
    for name, key in (("", 0), ("flat", 1), ("dark", 2)):
        (folder / name).mkdir(exist_ok=True)
        for i, frame in enumerate(frames[keys == key][::every] if key == 0 else frames[keys == key]):
            tifffile.imwrite(folder / name / f"p_{every * i if key == 0 else i}.tif", frame)
    angles = parts["sample/rotation_angle"][keys == 0][::every]
    (folder / "angles.csv").write_text("angle_deg\n" + "\n".join(map(str, angles)))
    return folder


def make_scan(n: int = 4, steps: int = 3, samples: int = 2) -> ScanFile:
    """What a scan of ours leaves, of random numbers."""
    rng = np.random.default_rng(n)
    scores = rng.random((steps, 9))
    scores[:, :2] = np.nan
    return ScanFile(
        projections=rng.random((n, 7), np.float32),
        angles_deg=rng.uniform(0, 180, n),
        reconstruction=rng.random((5, 6), np.float32),
        uncertainty=rng.random((5, 6), np.float32),
        samples=rng.random((samples, 5, 6), np.float32),
        scores=scores,
        settings_deg=np.arange(0, 180, 20.0),
        name="chip µ::3",
        provenance={"command": "tomopilot simulate " + "x" * 100_000, "seed": "0", "a/b": "ü\0"},
    )


def run_example(name: str, folder: Path, *options: str) -> str:
    """What an example prints, run in a process and a folder of its own; warnings are errors there too."""
    script = Path(__file__).resolve().parents[1] / "examples" / name
    command = [sys.executable, "-W", "error", str(script), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def chip_volume(rows: int, columns: int) -> torch.Tensor:
    """Simulated chips, as the beamlines of the examples scan them."""
    slices = torch.stack([torch.from_numpy(chip(seed)) for seed in range(rows)])
    return torch.nn.functional.interpolate(slices[:, None], (columns, columns), mode="area")[:, 0]
