import numpy as np
import pytest
from samples import disc_projections

from tomopilot.raw.faults import beam_levels, to_quarantine

COUNT, BINS = 60, 80
ANGLES = np.arange(COUNT) * np.pi / COUNT
LINES = disc_projections(ANGLES, BINS)[:, None].astype(np.float32)
WIDE = LINES[..., 25:55]  # the object is wider than this view
NOISE = 0.02 * np.random.default_rng(0).standard_normal(LINES.shape).astype(np.float32)
DROP = 0.2


def quarantined(values, faults=None, monitor=None) -> dict[int, str]:
    nothing = {"not finite": np.zeros(values.shape, bool)}
    return to_quarantine(values, faults or nothing, ANGLES, monitor, DROP)


@pytest.mark.parametrize("values", [LINES + NOISE, WIDE], ids=["air", "no air"])
def test_a_sound_scan_stays_whole(values):
    assert quarantined(values) == {}


def test_a_long_bar_stays_whole():
    """Along it, rays are twenty times as long as across."""
    place, turned = np.arange(BINS) - 39.5, np.arange(0, 180, 3.0)
    cos, sin = np.cos(np.deg2rad(turned))[:, None], np.sin(np.deg2rad(turned))[:, None]
    ends = np.minimum(30 / np.maximum(abs(cos), 1e-3), 3 / np.maximum(abs(sin), 1e-3))
    bar = 0.05 * ends * (abs(place) < 30 * abs(sin) + 3 * abs(cos))
    assert quarantined(bar[:, None]) == {}


def test_a_long_ellipse_stays_whole():
    """Most bins beside it see air at most angles, and the sample where it lies across."""
    place, turned = (np.arange(BINS) - 39.5) / 39.5, np.deg2rad(np.arange(0, 180, 3.0))[:, None]
    half = np.hypot(0.9 * np.sin(turned), 0.1 * np.cos(turned))
    ellipse = 10 * np.sqrt(np.clip(1 - (place / half) ** 2, 0, None)) * 0.09 / half
    assert quarantined(ellipse[:, None]) == {}


SHARES = {"not finite": 4, "saturated": 4, "not above the dark field": 50, "the same": 80}  # values of 80


@pytest.mark.parametrize("what", SHARES)
def test_too_many_faulty_values(what):
    values, bad = LINES.copy(), np.zeros(LINES.shape, bool)
    bad[7, 0, : SHARES[what]] = bad[9, 0, :3] = True
    values[bad] = np.nan
    assert quarantined(values, {what: bad}) == {7: f"{SHARES[what]} of its 80 values are {what}"}


def test_dead_bins_do_not_count():
    dead, bad, values = np.zeros((1, BINS), bool), np.zeros(LINES.shape, bool), LINES.copy()
    dead[0, 10:20] = bad[7, 0, 10:20] = True
    values[:, dead] = np.nan
    assert quarantined(values, {"dead": dead, "not finite": bad}) == {}


@pytest.mark.parametrize("level", [0.7, 1.4])
@pytest.mark.parametrize("frames", [[0], [30], [59], [20, 21, 22]], ids=str)
@pytest.mark.parametrize("whole", [LINES + NOISE, WIDE], ids=["air", "no air"])
def test_a_beam_that_changed(whole, frames, level):
    values = whole.copy()
    values[frames] -= np.log(level)
    found = quarantined(values)
    assert list(found) == frames
    word = "weaker" if level < 1 else "stronger"
    assert all(word in why and why.startswith("its beam is ") for why in found.values())


def test_a_beam_that_changed_little_is_kept():
    values = LINES + NOISE
    values[10] -= np.log(0.85)
    assert quarantined(values) == {}


@pytest.mark.parametrize("values", [LINES + NOISE, WIDE], ids=["air", "no air"])
def test_a_beam_that_the_monitor_saw_change(values):
    """Also where the line integrals are corrected for it."""
    monitor = np.full(COUNT, 7.0)
    monitor[4] = 3.5
    assert quarantined(values, monitor=monitor) == {4: "its beam is 50% weaker than usual"}


def test_levels_do_not_depend_on_masked_values():
    values = LINES - np.log(np.linspace(0.9, 1.1, COUNT))[:, None, None]
    values[3, 0, :5] = values[:, 0, 70] = np.nan
    levels = beam_levels(values, ANGLES)
    np.testing.assert_allclose(levels / levels[0], np.linspace(0.9, 1.1, COUNT) / 0.9, rtol=1e-5)
