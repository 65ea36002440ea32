import dataclasses

import numpy as np
import pytest
from samples import counted, disc_projections

from tomopilot.files.reading import InputFileError
from tomopilot.raw.counts import line_integrals_of
from tomopilot.raw.records import Frames, RawScan

ANGLES = np.arange(40) * np.pi / 40
LINES = disc_projections(ANGLES, 48)[:, None]
EVERY, ROWS = np.arange(40), slice(None)


def scan(projections, flats, darks, **more) -> RawScan:
    fields = {name: None if f is None else Frames.of(f) for name, f in (("flats", flats), ("darks", darks))}
    return RawScan("discs", "array", Frames.of(projections), ANGLES, True, **fields, **more)


@pytest.fixture
def raw() -> RawScan:
    """Without noise: a beam of 1000 to 2000 counts over a dark level of 50."""
    beam = 1000 + 1000 * np.linspace(0, 1, 48)
    return scan(50 + beam * np.exp(-LINES), np.tile(50 + beam, (5, 1, 1)), np.full((3, 1, 48), 50.0))


def faulty(taken) -> dict[str, int]:
    return {what: int(bad.sum()) for what, bad in taken.faults.items() if bad.any()}


def test_flat_and_dark_fields(raw):
    taken = line_integrals_of(raw, EVERY, ROWS)
    np.testing.assert_allclose(taken.values, LINES, atol=1e-5)
    assert taken.values.dtype == np.float32 and not faulty(taken)
    assert taken.log["flats"] == "5, averaged" and taken.log["darks"] == "3, averaged"


def test_without_darks(raw):
    raw = dataclasses.replace(raw, darks=None)
    off = line_integrals_of(raw, EVERY, ROWS)
    assert off.log["darks"] == "none: 0 was taken" and off.values.max() < LINES.max()


def test_a_ray_that_hits_one_flat_does_not_count(raw):
    flats = raw.flats.read().copy()
    flats[2, 0, 20] = 60_000.0
    taken = line_integrals_of(dataclasses.replace(raw, flats=Frames.of(flats)), EVERY, ROWS)
    np.testing.assert_allclose(taken.values, LINES, atol=1e-5)


def test_flats_before_and_after_are_interpolated(raw):
    level = 1 - 0.5 * (EVERY + 0.5) / 40  # the beam loses half
    dark, beam = 50.0, raw.flats.read()[:1] - 50
    projections = dark + level[:, None, None] * (raw.projections.read() - dark)
    flats = np.concatenate([dark + beam, dark + beam, dark + beam / 2])
    raw = scan(projections, flats, raw.darks.read(), flats_after=np.array([0, 0, 40]))
    taken = line_integrals_of(raw, EVERY, ROWS)
    np.testing.assert_allclose(taken.values, LINES, atol=1e-5)
    assert "interpolated between 2 times" in taken.log["flats"]
    some = line_integrals_of(raw, EVERY[30:], ROWS)
    np.testing.assert_allclose(some.values, LINES[30:], atol=1e-5)


def test_a_monitor_of_the_beam_is_divided_out(raw):
    level = np.random.default_rng(0).uniform(0.9, 1.1, 40)
    projections = 50 + level[:, None, None] * (raw.projections.read() - 50)
    raw = scan(projections, raw.flats.read(), raw.darks.read(), monitor=level)
    np.testing.assert_allclose(line_integrals_of(raw, EVERY, ROWS).values, LINES, atol=1e-5)


def test_line_integrals_stay_as_they_are():
    raw = RawScan("discs", "array", Frames.of(LINES), ANGLES, False)
    taken = line_integrals_of(raw, EVERY[3:5], ROWS)
    np.testing.assert_allclose(taken.values, LINES[3:5], rtol=1e-6)
    assert taken.photons is None


@pytest.mark.parametrize("photons", [300, 5000])
def test_photons_are_those_of_the_flats(photons):
    flats = counted(np.zeros((20, 4, 200)), photons)
    flats = (flats * np.random.default_rng(1).uniform(0.98, 1.02, (20, 1, 1))).astype(np.uint16)
    darks = np.full((2, 4, 200), 100, np.uint16)
    raw = scan(counted(np.zeros((40, 4, 200)), photons), flats, darks)
    assert abs(line_integrals_of(raw, EVERY, ROWS).photons / photons - 1) < 0.1


FAULTS = {
    "dead": lambda p, f: f.__setitem__((slice(None), 0, 7), 50.5),
    "not finite": lambda p, f: p.__setitem__((3, 0, 7), np.nan),
    "not above the dark field": lambda p, f: p.__setitem__((3, 0, 7), 49.0),
    "saturated": lambda p, f: p.__setitem__((3, 0, 7), 4095.0),
}


@pytest.mark.parametrize("value", [0.0, 1234.0])
def test_a_frame_of_one_value(raw, value):
    projections = raw.projections.read().copy()
    projections[5] = value
    taken = line_integrals_of(scan(projections, raw.flats.read(), raw.darks.read()), EVERY, ROWS)
    assert faulty(taken)["the same"] == 48 and np.isnan(taken.values).sum() == 48


@pytest.mark.parametrize("what", FAULTS)
def test_faulty_values_are_masked(raw, what):
    projections, flats = raw.projections.read().copy(), raw.flats.read().copy()
    FAULTS[what](projections, flats)
    taken = line_integrals_of(scan(projections, flats, raw.darks.read()), EVERY, ROWS)
    assert what in faulty(taken) and faulty(taken)[what] == 1
    bad = np.isnan(taken.values)
    assert bad.sum() == (40 if what == "dead" else 1) and bad[3, 0, 7]
    np.testing.assert_allclose(taken.values[~bad], LINES[~bad], atol=1e-5)


def test_a_flat_that_is_saturated_makes_a_bin_dead(raw):
    flats = raw.flats.read().copy()
    flats[:, 0, 9] = 65535.0
    taken = line_integrals_of(scan(raw.projections.read(), flats, raw.darks.read()), EVERY, ROWS)
    assert faulty(taken) == {"dead": 1} and np.isnan(taken.values[:, 0, 9]).all()


def test_saturation_as_the_file_says_it(raw):
    raw = dataclasses.replace(raw, ceiling=1900.0)
    taken = line_integrals_of(raw, EVERY, ROWS)
    assert faulty(taken) == {"dead": int((raw.flats.read()[0] >= 1900).sum())}
    brighter = raw.projections.read() + 1000.0 * (np.arange(48) == 2)
    raw = scan(brighter, raw.flats.read(), raw.darks.read(), ceiling=2060.0)
    assert faulty(line_integrals_of(raw, EVERY, ROWS))["saturated"] == (brighter >= 2060).sum() > 0


@pytest.mark.parametrize("each", [True, False], ids=["each", "all"])
def test_a_mask_of_the_file(raw, each):
    mask = np.zeros((40 if each else 1, 1, 48), np.uint8)
    mask[2 if each else 0, 0, 5] = 1
    taken = line_integrals_of(dataclasses.replace(raw, mask=Frames.of(mask)), EVERY[2:], ROWS)
    assert np.isnan(taken.values).sum() == (1 if each else 38)


def test_without_flats(raw):
    with pytest.raises(InputFileError, match=r"discs has counts but no flat fields.*line integrals already"):
        line_integrals_of(dataclasses.replace(raw, flats=None), EVERY, ROWS)


def test_flats_and_darks_confused(raw):
    raw = dataclasses.replace(raw, flats=raw.darks, darks=raw.flats)
    with pytest.raises(InputFileError, match="not brighter than its dark fields"):
        line_integrals_of(raw, EVERY, ROWS)
