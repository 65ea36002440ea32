import numpy as np
import pytest
from samples import nxtomo_parts

from tomopilot.files.reading import InputFileError
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured
from tomopilot.raw.records import FanBeam

PARTS = nxtomo_parts()
KEYS, FRAMES = PARTS["instrument/detector/image_key"], PARTS["instrument/detector/data"]
SINOGRAM = np.random.default_rng(0).random((90, 64)).astype(np.float32)
DEGREES = np.arange(0, 180, 2.0)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "scan.npz", **arrays)
        return str(tmp_path / "scan.npz")

    return save


def test_counts(save):
    raw = read_measured(
        save(
            projections=FRAMES[KEYS == 0],
            flats=FRAMES[KEYS == 1],
            darks=FRAMES[KEYS == 2],
            angles_deg=DEGREES,
            pixel_size_um=2.5,
        )
    )
    assert raw.counts and raw.format == "npz (projections)" and raw.pixel_size == pytest.approx(2.5e-6)
    np.testing.assert_array_equal(raw.projections.read(), FRAMES[KEYS == 0])
    assert abs(Correction()(raw).offset - 2.3) < 0.1


@pytest.mark.parametrize("slices", [1, 3])
def test_sinograms(save, slices):
    stack = SINOGRAM if slices == 1 else np.stack([SINOGRAM] * slices)
    raw = read_measured(save(sinogram=stack, angles_rad=np.deg2rad(DEGREES)))
    assert not raw.counts and raw.projections.rows == slices
    np.testing.assert_array_equal(raw.projections.read(), np.repeat(SINOGRAM[:, None], slices, 1))
    np.testing.assert_allclose(raw.angles, np.deg2rad(DEGREES))
    assert read_measured(save(sinogram=stack, angles_deg=DEGREES), counts=True).counts


def test_fan_and_parallel_in_one_file(save):
    path = save(
        fan_sinogram=SINOGRAM,
        fan_angles_deg=2 * DEGREES,
        distance_source_origin_mm=400.0,
        distance_source_detector_mm=500.0,
        detector_pixel_mm=0.2,
        parallel_sinogram=2 * SINOGRAM,
        parallel_angles_deg=DEGREES,
        parallel_pixel_mm=0.15,
        reference_fbp=np.zeros((8, 8)),
    )
    fan, parallel = read_measured(path), read_measured(f"{path}:/parallel_sinogram")
    assert fan.fan == FanBeam(0.4, 0.5) and fan.pixel_size == pytest.approx(2e-4)
    assert parallel.fan is None and parallel.pixel_size == pytest.approx(1.5e-4)
    np.testing.assert_allclose(fan.angles, 2 * parallel.angles)
    np.testing.assert_array_equal(parallel.projections.read()[:, 0], 2 * SINOGRAM)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"angles": DEGREES, "sinogram": SINOGRAM}, "in the unit angles; .*--angles-in degrees"),
        ({"sinogram": SINOGRAM}, "has no angles beside sinogram; .*angles_deg or angles_rad"),
        ({"angles_deg": DEGREES}, "its arrays are angles_deg; expected projections"),
        ({"images": SINOGRAM[None], "angles_deg": DEGREES}, "its arrays are images, angles_deg"),
        ({"sinogram": SINOGRAM, "angles_deg": np.deg2rad(DEGREES)}, "are said to be degrees"),
        ({"sinogram": SINOGRAM, "angles_deg": DEGREES[:-1]}, "89 angles for 90 projections"),
        ({"sinogram": SINOGRAM[:, 0], "angles_deg": DEGREES}, r"sinogram has shape \(90,\)"),
        ({"sinogram": SINOGRAM.astype(complex), "angles_deg": DEGREES}, "complex128; expected real"),
        ({"fan_sinogram": SINOGRAM, "fan_angles_deg": DEGREES}, "has no distance_source_origin_mm"),
        ({"sinogram": SINOGRAM, "angles_deg": DEGREES, "pixel_mm": np.ones(3)}, "3 values; expected one"),
        ({"sinogram": np.array([{}] * 3), "angles_deg": DEGREES}, "Object arrays cannot be loaded"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.split(";")[0],
)
def test_wrong_contents(save, arrays, said):
    with pytest.raises(InputFileError, match=rf"scan\.npz: .*{said}"):
        read_measured(save(**arrays))


@pytest.mark.parametrize("name", ["ta", "tb", "tc"])
def test_measured_phantoms(data_folder, name):
    raw = read_measured(str(data_folder / "measured" / f"htc2022_{name}.npz"))
    assert raw.fan == FanBeam(0.41066, 0.55374) and raw.pixel_size == pytest.approx(2e-4)
    assert (len(raw.angles), raw.projections.rows, raw.projections.bins) == (721, 1, 560) and not raw.counts
    lines = Correction()(raw)
    assert lines.log["repeated angles"] == [[720, 0]] and lines.quarantined == {}
    assert 0.004 < lines.noise.std < 0.009


def test_measured_sinograms(data_folder):
    raw = read_measured(str(data_folder / "measured" / "tooth_sinograms.npz"))
    assert (len(raw.angles), raw.projections.rows, raw.projections.bins) == (181, 2, 640)
