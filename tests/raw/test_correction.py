import dataclasses
import json

import numpy as np
import pytest
import torch
from samples import disc_projections, nxtomo_parts, save_nxtomo

from tomopilot.files.reading import InputFileError
from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.measure.fan import Fan
from tomopilot.measure.noise import Gaussian, Masked, Poisson
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured
from tomopilot.raw.records import FanBeam, Frames, RawScan

ANGLES = np.arange(90) * np.pi / 90
CLEAN = disc_projections(ANGLES, 64, 2.3)


@pytest.fixture
def raw(tmp_path) -> RawScan:
    """Poisson counts of 4000 photons a bin; the axis is at column 33.8."""
    return read_measured(str(save_nxtomo(tmp_path / "scan.nxs")))


def test_what_comes_out(raw):
    lines = Correction()(raw)
    assert lines.values.shape == (90, 2, 64) and lines.values.dtype == np.float32
    error = lines.values - CLEAN[:, None]
    assert abs(error.mean()) < 0.005 and error.std() < 1.5 * np.sqrt(np.exp(CLEAN).mean() / 4000)
    assert abs(lines.offset - 2.3) < 0.1
    np.testing.assert_allclose(lines.angles, ANGLES)
    assert lines.pixel_size == pytest.approx(2.5e-6) and not lines.mask.any() and lines.quarantined == {}
    assert isinstance(lines.noise, Poisson) and abs(lines.noise.i0 / 4000 - 1) < 0.35


def test_the_noise_predicts_the_errors(raw):
    lines = Correction()(dataclasses.replace(raw, axis=33.8))
    noise = dataclasses.replace(lines.noise, i0=4000.0)
    precision = noise.precision(torch.from_numpy(lines.values)).numpy()
    assert 0.9 < (precision * (lines.values - CLEAN[:, None]) ** 2).mean() < 1.2


def test_it_reconstructs_to_the_discs(raw):
    lines = Correction()(raw)
    image = filtered_backprojection(lines.operator(), lines.values[:, 0][None])[0]
    assert abs(image[28, 34] * 32 - 0.5) < 0.1  # the largest disc alone
    assert abs(image[23, 25] * 32 - 1.3) < 0.15  # with the second: 6.4 bins left of the middle, 8 above


@pytest.mark.parametrize("bins", [64, 32, 27])
def test_binning_moves_axis_pixels_and_noise_along(raw, bins):
    lines = Correction(axis=33.8, bins=bins)(raw)
    width = 64 / bins
    assert lines.values.shape == (90, 2, bins) and lines.offset == pytest.approx(2.3 / width)
    assert lines.pixel_size == pytest.approx(2.5e-6 * width)
    full = Correction(axis=33.8)(raw)
    assert lines.noise.i0 == pytest.approx(full.noise.i0 * width)
    image = filtered_backprojection(lines.operator(), lines.values[:, 0][None])[0]
    assert abs(image[round(28 / width), round(34 / width)] * bins / 2 - 0.5) < 0.1


def test_cropping(raw):
    lines = Correction(axis=33.8, crop=(10, 60))(raw)
    np.testing.assert_array_equal(lines.values, Correction(axis=33.8)(raw).values[..., 10:60])
    assert lines.offset == pytest.approx(33.8 - 10 - 24.5)


def test_rows_are_those_of_the_whole(raw):
    whole = Correction(axis=33.8)(raw)
    part = Correction(axis=33.8)(raw, slice(1, 2))
    np.testing.assert_array_equal(part.values, whole.values[:, 1:])


def test_quarantine_leaves_the_rest_as_it_would_be_without(tmp_path):
    """F7: bit for bit."""
    parts = nxtomo_parts()
    frames = parts["instrument/detector/data"].astype(np.float32)
    frames[7 + 5], frames[7 + 40, 0], frames[7 + 70] = 0, np.nan, 100 + 0.6 * (frames[7 + 70] - 100)
    raw = read_measured(str(save_nxtomo(tmp_path / "bad.nxs", **{"instrument/detector/data": frames})))
    lines = Correction(axis=33.8)(raw)
    assert list(lines.quarantined) == [5, 40, 70]
    assert "not above the dark field" in lines.quarantined[5]
    assert lines.quarantined[40] == "64 of its 128 values are not finite"
    assert "40% weaker" in lines.quarantined[70]
    keys = parts["instrument/detector/image_key"].copy()
    keys[[7 + 5, 7 + 40, 7 + 70]] = 3
    without = read_measured(
        str(save_nxtomo(tmp_path / "without.nxs", **{"instrument/detector/image_key": keys}))
    )
    other = Correction(axis=33.8)(without)
    np.testing.assert_allclose(lines.angles, other.angles)
    assert lines.numbers.tolist() == [i for i in range(90) if i not in (5, 40, 70)]
    np.testing.assert_allclose(
        lines.values, other.values, atol=0.01
    )  # the flats' times differ by three projections


def test_quarantine_found_elsewhere_is_kept_to(raw):
    lines = Correction(axis=33.8)(raw, slice(0, 1), quarantined={3: "seen in other rows"})
    assert (
        lines.quarantined == {3: "seen in other rows"} and 3 not in lines.numbers and len(lines.values) == 89
    )


def test_masked_values_have_precision_0_and_lie_between_their_neighbours(tmp_path):
    frames = nxtomo_parts()["instrument/detector/data"].copy()
    frames[:, 0, 30], frames[7 + 3, 1, 12] = 100, 65535
    raw = read_measured(str(save_nxtomo(tmp_path / "bad.nxs", **{"instrument/detector/data": frames})))
    lines = Correction(axis=33.8)(raw)
    assert lines.mask.sum() == 91 and lines.mask[:, 0, 30].all() and lines.mask[3, 1, 12]
    np.testing.assert_allclose(lines.values[:, 0, 30], lines.values[:, 0, [29, 31]].mean(1), rtol=1e-5)
    noise = lines.noise_of(3, 1)
    assert noise == Masked(lines.noise, (12,)) and lines.noise_of(4, 1) == lines.noise
    precision = noise.precision(torch.from_numpy(lines.values[3, 1]))
    assert precision[12] == 0 and (precision > 0).sum() == 63
    assert lines.log["masked"] == {"dead": 1, "saturated": 1}


def test_line_integrals_get_the_noise_that_they_show():
    random = np.random.default_rng(0)
    noisy = CLEAN[:, None] + 0.01 * random.standard_normal((90, 1, 64))
    raw = RawScan("discs", "array", Frames.of(noisy), ANGLES, False)
    assert isinstance(noise := Correction()(raw).noise, Gaussian) and abs(noise.std / 0.01 - 1) < 0.25
    stated = dataclasses.replace(raw, noise=Gaussian(0.02))
    assert Correction(bins=16)(stated).noise == Gaussian(0.01)


def test_the_order_of_angles_does_not_matter(raw):
    order = np.random.default_rng(0).permutation(90)
    mixed = dataclasses.replace(
        raw, projections=raw.projections[order], angles=raw.angles[order], flats_after=None
    )
    plain = Correction()(dataclasses.replace(raw, flats_after=None))
    lines = Correction()(mixed)
    np.testing.assert_array_equal(lines.values, plain.values[order])
    assert lines.offset == pytest.approx(plain.offset, abs=0.011) and lines.noise == plain.noise


def test_repeated_angles_are_kept_and_said():
    angles = np.linspace(0, 2 * np.pi, 73)
    raw = RawScan("discs", "array", Frames.of(disc_projections(angles, 64)[:, None]), angles, False)
    lines = Correction()(raw)
    assert len(lines.angles) == 73 and lines.log["repeated angles"] == [[72, 0]]


def test_a_fan_beam_of_half_a_turn_has_no_axis_to_find():
    fan = FanBeam(0.4, 0.5)
    raw = RawScan("discs", "array", Frames.of(CLEAN[:, None]), ANGLES, False, fan=fan, pixel_size=1e-4)
    lines = Correction()(raw)
    assert lines.offset == 0 and "not found" in lines.log["axis"]["how"] and lines.fan == fan
    assert Correction(axis=33.8)(raw).offset == pytest.approx(2.3)


def test_the_operator_of_a_fan_beam_has_lengths_in_pixels():
    """A bin of 0.1 mm at 0.5 m is 0.08 mm wide at the axis, 0.4 m away: 5000 of these."""
    fan = FanBeam(0.4, 0.5)
    raw = RawScan("discs", "array", Frames.of(CLEAN[:, None]), ANGLES, False, fan=fan, pixel_size=1e-4)
    operator = Correction(axis=33.8)(raw).operator(48)
    assert isinstance(operator, Fan) and operator.image_shape == (48, 48) and operator.bins == 64
    assert operator.source == pytest.approx(5000) and operator.detector == pytest.approx(6250)
    assert operator.pitch == pytest.approx(1.25) and operator.offset == pytest.approx(2.3)
    unknown = Correction()(dataclasses.replace(raw, pixel_size=None))
    with pytest.raises(ValueError, match="width of the bins of discs is not known"):
        unknown.operator()


@pytest.mark.parametrize("name", ["ta", "tb", "tc"])
def test_measured_fan_beams_reconstruct_to_their_reference(data_folder, name):
    path = data_folder / "measured" / f"htc2022_{name}.npz"
    lines = Correction(bins=140)(read_measured(str(path)))
    image = filtered_backprojection(lines.operator(128), lines.values[:, 0][None])[0].numpy() / 4
    reference = np.load(path)["reference_fbp"].astype(np.float32).reshape(128, 4, 128, 4).mean((1, 3))
    assert np.corrcoef(image.ravel(), reference.ravel())[0, 1] > 0.997
    assert np.polyfit(image.ravel(), reference.ravel(), 1)[0] == pytest.approx(1, abs=0.02)


def test_the_log_says_what_was_done(raw):
    log = Correction(bins=32, stripes=9)(raw).log
    assert log["flats"] == "8, interpolated between 2 times" and log["darks"] == "2, averaged"
    assert log["bins"] == 32 and log["stripes"] == 9 and log["columns"] == [0, 64]
    assert log["axis"]["how"].startswith("found") and abs(log["axis"]["column"] - 33.8) < 0.1
    assert log["noise"]["kind"] == "Poisson" and json.loads(json.dumps(log)) == log


WRONG = {
    "an axis beside the detector": (Correction(axis=64.0), {}, "column 64, as stated; expected 0 to 63"),
    "a negative axis": (Correction(axis=-0.5), {}, "column -0.5"),
    "an axis of the file": (Correction(), {"axis": 99.0}, "column 99, as the file says"),
    "too many bins": (Correction(bins=65), {}, "65 bins were asked for, but discs has 64 columns"),
    "columns beyond": (Correction(crop=(0, 65)), {}, "columns 0 to 65"),
    "no columns": (Correction(crop=(9, 9)), {}, "columns 9 to 9"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_wishes(name, raw):
    correct, changes, said = WRONG[name]
    with pytest.raises(InputFileError, match=said):
        correct(dataclasses.replace(raw, **changes))


def test_no_rows(raw):
    with pytest.raises(InputFileError, match="rows 0 to 1, and none of them"):
        Correction(axis=33.8)(raw, slice(2, 3))


def test_nothing_is_usable(raw):
    lost = Frames.of(np.full((90, 2, 64), np.nan))
    with pytest.raises(
        InputFileError, match="all 90 projections of discs are unusable: 128 of its 128 values"
    ):
        Correction(axis=33.8)(dataclasses.replace(raw, projections=lost))


def test_an_empty_slice_is_no_fault():
    """As above the sample, in simulated scans."""
    lines = np.zeros((90, 2, 64))
    lines[:, 1] = CLEAN
    raw = RawScan("discs", "array", Frames.of(lines), ANGLES, False, axis=33.8)
    assert len(Correction()(raw, slice(0, 1)).values) == len(Correction()(raw).values) == 90


def test_no_value_is_usable(raw):
    dead = Frames.of(np.ones((1, 2, 64)))
    with pytest.raises(
        InputFileError, match="no value of discs in these rows is usable: all are masked by the"
    ):
        Correction(axis=33.8)(dataclasses.replace(raw, mask=dead))


BROKEN = {
    "fewer angles": ({"angles": ANGLES[:-1]}, "89 angles for 90 projections"),
    "an angle is NaN": ({"angles": np.where(ANGLES == 0, np.nan, ANGLES)}, "1 of 90 angles are not finite"),
    "flats of another width": ({"flats": Frames.of(np.ones((3, 2, 60)))}, "its flats have 2 x 60 values"),
    "a pixel without size": ({"pixel_size": 0.0}, "pixel size is 0 m"),
    "no projections": ({"projections": Frames.of(np.ones((0, 2, 64)))}, "it has 0 projections"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_records_that_disagree(name, raw):
    changes, said = BROKEN[name]
    with pytest.raises(InputFileError, match=said):
        dataclasses.replace(raw, **changes)


@pytest.mark.parametrize(("source", "detector"), [(0, 1), (0.5, 0.4), (1, np.inf)])
def test_fan_beams_that_cannot_be(source, detector):
    with pytest.raises(InputFileError, match="expected 0 < source to axis < source to detector"):
        FanBeam(source, detector)
