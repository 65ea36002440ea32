import numpy as np
import pytest
import torch

from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.measure.noise import Gaussian, Poisson
from tomopilot.measure.radon import Radon
from tomopilot.raw.correction import Correction
from tomopilot.raw.intensity import intensity_of
from tomopilot.raw.records import Frames, RawScan

TWO = {"range": [0.0, 1.0], "unit": "metal fraction (0 dielectric, 1 metal)"}
LINE = np.arange(96) - 47.5
PHASES = (((LINE // 8) % 2)[:, None] * ((LINE // 16) % 2)).astype(np.float32)  # a quarter of it is 1
NOISE = 0.05 * np.random.default_rng(0).standard_normal(PHASES.shape)


def test_two_phases():
    found = intensity_of(0.2 + 0.03 * (PHASES + NOISE), TWO, None)
    assert found.scale == pytest.approx(0.03, rel=0.03) and found.offset == pytest.approx(0.2, abs=1e-3)
    assert found.how == "the two phases of the material" and found.outside < 0.02


def test_another_range():
    found = intensity_of(0.03 * PHASES, {"range": [-1, 3]}, None)
    assert found.scale == pytest.approx(0.0075) and found.offset == pytest.approx(0.0075)


def test_percentiles():
    unit = "grey value between two percentiles of the scan (0.1 and 99.9, or 0.2 and 99.8)"
    ramp = np.broadcast_to(LINE, (96, 96)) / 1000
    found = intensity_of(ramp, {"range": [0, 1], "unit": unit}, 1e-6)
    assert found.scale == pytest.approx(0.093, rel=0.03) and found.offset == pytest.approx(-0.0465, rel=0.03)


def test_attenuation_per_metre_follows_from_the_pixel_size():
    unit = "linear attenuation / 81.35858 per metre (water 0.246, air 0)"
    found = intensity_of(0.04 * PHASES, {"range": [0, 1], "unit": unit}, 0.002)
    assert found.scale == pytest.approx(81.35858 * 0.002) and found.offset == 0
    assert "attenuation per metre" in found.how
    assert "two phases" in intensity_of(0.04 * PHASES, {"range": [0, 1], "unit": unit}, None).how


def test_what_does_not_fit_is_counted():
    image = PHASES + 1.0 * (LINE > 30)[:, None] * PHASES
    assert 0.02 < intensity_of(image, TWO, None).outside < 0.1


def test_an_empty_view():
    with pytest.raises(ValueError, match=r"values from 0\.5 to 0\.5, which cannot be mapped"):
        intensity_of(np.full((20, 20), 0.5), TWO, None)


@pytest.mark.parametrize("noise", [Poisson(1000.0, 1.0), Gaussian(0.01)])
def test_line_integrals_of_the_prior_follow(noise):
    """y = A (scale x + offset): the mapped ones are A x, and as certain."""
    angles = np.arange(60) * np.pi / 60
    radon, image = Radon(64, angles), torch.from_numpy(PHASES[16:80, 16:80])[None]
    scale, offset = 0.02, 0.005
    values = radon.forward(scale * image + offset)[0].numpy()[:, None]
    raw = RawScan("bars", "array", Frames.of(values), angles, False, noise=noise, axis=31.5)
    lines = Correction()(raw)
    found = intensity_of(filtered_backprojection(radon, values[:, 0][None])[0].numpy(), TWO, None)
    assert found.scale == pytest.approx(scale, rel=0.15) and found.offset == pytest.approx(offset, abs=0.003)
    mapped = lines.mapped(scale, offset, radon)
    np.testing.assert_allclose(mapped.values[:, 0], radon.forward(image)[0].numpy(), atol=1e-3)
    assert mapped.log["intensity"] == {"scale": scale, "offset": offset}
    before, after = (part.noise.precision(torch.from_numpy(part.values)) for part in (lines, mapped))
    if isinstance(noise, Gaussian):
        torch.testing.assert_close(after, before * scale**2)
    else:
        at = torch.from_numpy(values) - torch.from_numpy(
            offset * radon.forward(torch.ones_like(image))[0].numpy()[:, None]
        )
        torch.testing.assert_close(after, 1000 * torch.exp(-at) * scale**2, rtol=1e-3, atol=0)
