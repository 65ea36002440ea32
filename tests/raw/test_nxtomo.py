import h5py
import numpy as np
import pytest
from samples import nxtomo_parts, save_nxtomo

from tomopilot.files.reading import InputFileError
from tomopilot.raw.door import read_measured

PARTS = nxtomo_parts()
KEYS, FRAMES = PARTS["instrument/detector/image_key"], PARTS["instrument/detector/data"]


def read(path, **options):
    return read_measured(str(path), **options)


@pytest.fixture
def path(tmp_path):
    return save_nxtomo(tmp_path / "scan.nxs")


def test_frames_are_told_apart_by_their_key(path):
    raw = read(path)
    assert raw.name == "discs" and raw.counts and raw.format == "NXtomo (/entry)" and raw.fan is None
    for frames, key in ((raw.projections, 0), (raw.flats, 1), (raw.darks, 2)):
        np.testing.assert_array_equal(frames.read(), FRAMES[key == KEYS])
    np.testing.assert_allclose(raw.angles, np.arange(90) * np.pi / 90)
    assert raw.flats_after.tolist() == [0] * 5 + [90] * 3
    assert raw.pixel_size == pytest.approx(2.5e-6) and raw.remarks == ()


def test_only_what_is_asked_for_is_read(path):
    frames = read(path).projections[[5, 2, 3]]
    np.testing.assert_array_equal(frames.read(slice(1, 2)), FRAMES[7:][[5, 2, 3], 1:2])
    assert frames[:0].read().shape == (0, 2, 64)


@pytest.mark.parametrize("entry", ["entry", "entry1/tomo_entry", "a/b/c"])
def test_the_entry_is_found_wherever_it_is(tmp_path, entry):
    path = save_nxtomo(tmp_path / "scan.nxs", entry)
    assert len(read(path).projections) == len(read(f"{path}:/{entry}").projections) == 90


def test_one_of_several_entries_is_named(tmp_path):
    path = save_nxtomo(tmp_path / "scan.nxs", "first")
    with h5py.File(path, "a") as file:
        file.copy("first", "second")
        del file["second/sample/name"]
        file["second/title"] = ["other"]
    with pytest.raises(InputFileError, match=r"entries are /first, /second; .* as scan\.nxs:/first"):
        read(path)
    assert read(f"{path}:/second").name == "other"
    with pytest.raises(InputFileError, match="entries are"):
        read(f"{path}:/third")


def test_the_layout_of_diamond(tmp_path):
    """Data and angles in the data group alone, keys as floats, text in arrays, a name for a pixel size."""
    path = tmp_path / "scan.nxs"
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1/tomo_entry")
        entry["definition"] = np.array([b"NXtomo"])
        entry["data/data"], entry["data/rotation_angle"] = FRAMES, PARTS["sample/rotation_angle"]
        entry["instrument/detector/image_key"] = KEYS.astype(float)
        entry["instrument/detector/x_pixel_size"] = np.array([b"b2017b74-c39d"])
        entry["title"] = np.array([b"Mg"])
    raw = read(path, angles_in="degrees")
    assert (len(raw.projections), len(raw.flats), raw.name, raw.pixel_size) == (90, 8, "Mg", None)
    with pytest.raises(InputFileError, match=r"in the unit none; .*--angles-in degrees"):
        read(path)


def test_alignment_and_invalid_frames_are_left_out(tmp_path):
    control, keys = KEYS.copy(), KEYS.copy()
    control[20], keys[30] = -1, 3
    changes = {"instrument/detector/image_key": keys, "instrument/detector/image_key_control": control}
    raw = read(save_nxtomo(tmp_path / "scan.nxs", **changes))
    assert len(raw.projections) == 88 and "2 frames are neither" in raw.remarks[0]
    assert not {20, 30} & set(raw.projections.numbers.tolist())


def test_soft_links_inside_the_file_are_followed(tmp_path):
    link = {"data/data": h5py.SoftLink("/entry/raw"), "instrument/detector/data": None, "raw": FRAMES}
    assert len(read(save_nxtomo(tmp_path / "scan.nxs", **link)).projections) == 90


def test_a_monitor_is_relative_to_the_flats(tmp_path):
    monitor = np.where(KEYS == 1, 8.0, np.where(KEYS == 2, 0.0, 6.0))
    assert read(save_nxtomo(tmp_path / "a.nxs", **{"control/data": monitor})).monitor.tolist() == [0.75] * 90
    for useless in (np.zeros(len(KEYS)), monitor[1:], -monitor):
        assert read(save_nxtomo(tmp_path / "b.nxs", **{"control/data": useless})).monitor is None


@pytest.mark.parametrize("each", [True, False])
def test_a_pixel_mask(tmp_path, each):
    mask = np.zeros((len(KEYS), 2, 64) if each else (2, 64), np.uint32)
    mask[..., 1, 5] = 2
    raw = read(save_nxtomo(tmp_path / "a.nxs", **{"instrument/detector/pixel_mask": mask}))
    assert raw.mask.read().sum() == 2 * len(raw.mask) and len(raw.mask) == (90 if each else 1)


def test_the_saturation_of_the_detector(tmp_path):
    assert (
        read(save_nxtomo(tmp_path / "a.nxs", **{"instrument/detector/saturation_value": 60000})).ceiling
        == 6e4
    )


def test_an_axis_of_other_programs_is_not_trusted(tmp_path):
    changes = {"instrument/detector/x_rotation_axis_pixel_position": 12.0}
    assert read(save_nxtomo(tmp_path / "a.nxs", **changes)).axis is None


DAMAGED = {
    "fewer angles": ({"sample/rotation_angle": np.zeros(99)}, "99 rotation angles for 100 frames"),
    "fewer keys": ({"instrument/detector/image_key": KEYS[:-1]}, "99 image keys for 100 frames"),
    "no keys": ({"instrument/detector/image_key": None}, "has no image_key; expected all three"),
    "no data": ({"instrument/detector/data": None}, "has no detector data"),
    "two axes": ({"instrument/detector/data": FRAMES[:, 0]}, r"uint16 \(100, 64\); expected real numbers"),
    "complex": ({"instrument/detector/data": FRAMES.astype(complex)}, r"complex128 \(100, 2, 64\)"),
    "text for angles": ({"sample/rotation_angle": np.array([b"0"] * 100)}, "expected real numbers"),
    "flats alone": ({"instrument/detector/image_key": np.ones(100)}, "it has 0 projections"),
    "a mask of another width": (
        {"instrument/detector/pixel_mask": np.zeros((2, 60))},
        "its masks have 2 x 60 values",
    ),
    "a short mask": ({"instrument/detector/pixel_mask": np.zeros((3, 2, 64))}, "has 3 frames; expected 100"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_wrong_contents(name, tmp_path):
    changes, said = DAMAGED[name]
    with pytest.raises(InputFileError, match=rf"scan\.nxs: .*({said})"):
        read(save_nxtomo(tmp_path / "scan.nxs", **changes))
