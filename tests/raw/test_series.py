import numpy as np
import pytest
import tifffile
from samples import nxtomo_parts

from tomopilot.files.reading import InputFileError
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured

PARTS = nxtomo_parts()
KEYS, FRAMES = PARTS["instrument/detector/image_key"], PARTS["instrument/detector/data"]
TAKEN = FRAMES[KEYS == 0]
DEGREES = np.arange(0, 180, 2)
LINES = "\n".join(map(str, DEGREES))


def write(folder, frames, name="p_{}.tif"):
    folder.mkdir(exist_ok=True)
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / name.format(i), frame)


@pytest.fixture
def folder(tmp_path):
    """p_0.tif to p_89.tif, so that the order of names as text is another."""
    folder = tmp_path / "scan"
    write(folder, TAKEN)
    write(folder / "Flat_Before", FRAMES[2:7])
    write(folder / "Flat_After", FRAMES[-3:])
    write(folder / "dark", FRAMES[:2])
    (folder / "angles.csv").write_text(f"angle_deg\n{LINES}\n")
    return folder


def test_a_folder(folder):
    raw = read_measured(str(folder))
    assert raw.name == "scan" and raw.format == "TIFF series"
    np.testing.assert_array_equal(raw.projections.read(), TAKEN)
    np.testing.assert_array_equal(raw.projections[[2, 11]].read(slice(1, 2)), TAKEN[[2, 11], 1:])
    assert sorted(raw.flats_after) == [0] * 5 + [90] * 3 and len(raw.darks) == 2
    np.testing.assert_allclose(raw.angles, np.deg2rad(DEGREES))
    assert abs(Correction()(raw).offset - 2.3) < 0.1


def test_projections_in_a_folder_of_their_own(folder):
    (folder / "Projections").mkdir()
    for path in folder.glob("*.tif"):
        path.rename(folder / "Projections" / path.name)
    np.testing.assert_array_equal(read_measured(str(folder)).projections.read(), TAKEN)


def test_one_file_of_many_pages(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", TAKEN, photometric="minisblack", metadata=None)
    (tmp_path / "scan.txt").write_text(f"# angle in degrees\n{LINES}")
    (tmp_path / "other.txt").write_text("something else")
    raw = read_measured(str(tmp_path / "scan.tif"))
    assert raw.format == "TIFF of many pages"
    np.testing.assert_array_equal(raw.projections.read(), TAKEN)


TABLES = {
    "semicolons": "file;theta [deg]\n" + "\n".join(f"p_{i}.tif;{a}" for i, a in enumerate(DEGREES)),
    "other columns": "exposure,angle (degrees)\n" + "\n".join(f"0.1,{a}" for a in DEGREES),
    "radians": "angle_rad\n" + "\n".join(map(repr, np.deg2rad(DEGREES).tolist())),
    "tabs and blanks": "\n\n# file\tangle_deg\n"
    + "\n".join(f'"p_{i}.tif"\t {a} ' for i, a in enumerate(DEGREES)),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(folder, name):
    (folder / "angles.csv").write_text(TABLES[name])
    np.testing.assert_allclose(read_measured(str(folder)).angles, np.deg2rad(DEGREES))


def test_names_in_the_table_give_the_order(folder):
    order = np.random.default_rng(0).permutation(90)
    lines = "\n".join(f"p_{i}.tif,{DEGREES[i]}" for i in order)
    (folder / "angles.csv").write_text(f"file,angle_deg\n{lines}")
    raw = read_measured(str(folder))
    np.testing.assert_array_equal(raw.projections.read(), TAKEN[order])
    np.testing.assert_allclose(raw.angles, np.deg2rad(DEGREES[order]))


def test_a_unit_may_be_stated(folder):
    (folder / "angles.csv").write_text(LINES)
    with pytest.raises(InputFileError, match=r"the unit of its angles is not said; .*--angles-in degrees"):
        read_measured(str(folder))
    np.testing.assert_allclose(read_measured(str(folder), angles_in="degrees").angles, np.deg2rad(DEGREES))


def test_projections_unlike_the_others_are_quarantined(folder):
    tifffile.imwrite(folder / "p_4.tif", TAKEN[4, :, :60])
    tifffile.imwrite(folder / "p_5.tif", TAKEN[5].astype(np.float32))
    (folder / "p_7.tif").write_bytes((folder / "p_7.tif").read_bytes()[:90])
    raw = read_measured(str(folder))
    assert raw.quarantined[4] == "it is uint16 (2, 60); the others are uint16 (2, 64)"
    assert raw.quarantined[5] == "it is float32 (2, 64); the others are uint16 (2, 64)"
    assert raw.quarantined[7].startswith("p_7.tif: ") and set(raw.quarantined) == {4, 5, 7}
    lines = Correction()(raw)
    assert len(lines.values) == 87 and set(lines.quarantined) == {4, 5, 7}


WRONG = {
    "no table": (None, "no table of angles is beside it; expected a table"),
    "too few angles": ("angle_deg\n1\n2", "2 angles for 90 projections"),
    "no number": ("angle_deg\n1\nhello", "the angle 'hello' is no number"),
    "two columns without a heading": ("1,2\n3,4", r"its first line is \['1', '2'\]"),
    "ragged": ("file,angle_deg\na,1\nb", "its first line is"),
    "empty": ("", "its first line is 'missing'"),
    "a file that is not there": ("file,angle_deg\nq.tif,1", r"names q\.tif, which is not there"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tables(folder, name):
    text, said = WRONG[name]
    (folder / "angles.csv").unlink()
    if text is not None:
        (folder / "angles.csv").write_text(text)
    with pytest.raises(InputFileError, match=rf"scan: .*{said}"):
        read_measured(str(folder))


def test_two_tables(folder):
    (folder / "angles.csv").rename(folder / "a.csv")
    (folder / "b.csv").write_text(LINES)
    with pytest.raises(InputFileError, match=r"are a\.csv, b\.csv, and none is called angles"):
        read_measured(str(folder))


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputFileError, match="holds no TIFF files"):
        read_measured(str(tmp_path))


def test_colours(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    (tmp_path / "scan.csv").write_text("angle_deg\n0")
    with pytest.raises(InputFileError, match=r"pages are uint8 \(4, 5, 3\); expected grey"):
        read_measured(str(tmp_path / "scan.tif"))
