import h5py
import numpy as np
import pytest
from samples import nxtomo_parts, save_dataexchange, save_nxtomo

from tomopilot.files.reading import InputFileError
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured

PARTS = nxtomo_parts()
KEYS, FRAMES = PARTS["instrument/detector/image_key"], PARTS["instrument/detector/data"]


def test_frames_and_angles(tmp_path):
    raw = read_measured(str(save_dataexchange(tmp_path / "scan.h5", **{"measurement/sample/name": "tooth"})))
    assert raw.name == "tooth" and raw.format == "Data Exchange" and raw.counts and raw.flats_after is None
    for frames, key in ((raw.projections, 0), (raw.flats, 1), (raw.darks, 2)):
        np.testing.assert_array_equal(frames.read(), FRAMES[key == KEYS])
    np.testing.assert_allclose(raw.angles, np.arange(90) * np.pi / 90)


def test_the_same_line_integrals_as_from_nxtomo(tmp_path):
    raw = read_measured(str(save_dataexchange(tmp_path / "scan.h5")))
    other = read_measured(str(save_nxtomo(tmp_path / "scan.nxs")))
    values = [Correction(axis=33.8)(scan).values for scan in (raw, other)]
    assert abs(values[0] - values[1]).max() < 0.05  # averaged, not interpolated


def test_radians_where_the_file_says_so(tmp_path):
    path = save_dataexchange(tmp_path / "scan.h5", **{"exchange/theta": np.arange(90) * np.pi / 90})
    with pytest.raises(InputFileError, match=r"from 0 to 3\.10669 and are said to be degrees"):
        read_measured(str(path))
    with h5py.File(path, "a") as file:
        file["exchange/theta"].attrs["units"] = "rad"
    np.testing.assert_allclose(read_measured(str(path)).angles, np.arange(90) * np.pi / 90)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exchange/theta": None}, "has no exchange/theta"),
        ({"exchange/theta": np.arange(91.0)}, "91 angles for 90 projections"),
        ({"exchange/data": np.zeros((90, 2, 64), "S3")}, "expected real numbers"),
        ({"exchange/data_white": h5py.ExternalLink("b.h5", "/x")}, "leads to another file"),
    ],
    ids=["no angles", "more angles", "text", "flats elsewhere"],
)
def test_wrong_contents(changes, said, tmp_path):
    with pytest.raises(InputFileError, match=rf"scan\.h5: .*{said}"):
        read_measured(str(save_dataexchange(tmp_path / "scan.h5", **changes)))


def test_without_flats(tmp_path):
    raw = read_measured(str(save_dataexchange(tmp_path / "scan.h5", **{"exchange/data_white": None})))
    with pytest.raises(InputFileError, match="has counts but no flat fields"):
        Correction()(raw)


def test_measured_tooth(data_folder):
    raw = read_measured(str(data_folder / "measured" / "tooth.h5"))
    known = np.load(data_folder / "measured" / "tooth_sinograms.npz")
    lines = Correction(axis=295.5)(raw)
    assert abs(lines.values.transpose(1, 0, 2) - known["sinogram"]).max() < 0.003  # there: plain means
    np.testing.assert_allclose(np.rad2deg(lines.angles), known["angles_deg"], atol=1e-4)
    assert lines.noise.i0 == pytest.approx(42_000, rel=0.05) and not lines.mask.any()
