import numpy as np
import pytest
import torch

from tomopilot.measure.fourier import Fourier, from_kspace, to_channels, to_complex
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.solve import conjugate_gradients
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.records import Data

SHAPES = [(8, 8), (7, 8), (8, 5), (5, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_sum_of_waves(shape, rng):
    """Row u, column v hold the frequencies u - h // 2, v - w // 2 about the centre."""
    h, w = shape
    x = torch.randn(1, 2, h, w, generator=rng, dtype=torch.float64)
    z = (x[0, 0] + 1j * x[0, 1]).numpy()
    rows, columns = np.arange(h) - h // 2, np.arange(w) - w // 2
    down, right = (np.exp(-2j * np.pi * np.outer(f, f) / len(f)) for f in (rows, columns))
    expected = down @ z @ right.T / np.sqrt(h * w)
    np.testing.assert_allclose(Fourier(shape).forward(x)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_constant_image_is_in_the_centre(shape):
    h, w = shape
    constant = torch.stack([torch.ones(h, w), torch.zeros(h, w)])[None]
    energy = Fourier(shape).forward(constant)[0].abs().square()
    assert energy[h // 2, w // 2].item() == pytest.approx(h * w)
    assert energy.sum().item() == pytest.approx(h * w)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_rows_are_unitary(shape, rng):
    x = torch.randn(2, 2, *shape, generator=rng, dtype=torch.float64)
    operator = Fourier(shape)
    y = operator.forward(x)
    torch.testing.assert_close(operator.adjoint(y), x)
    torch.testing.assert_close(to_channels(from_kspace(y)), x)
    torch.testing.assert_close(y.abs().square().sum(), x.square().sum())


def test_channels_are_the_parts_of_a_complex_image(rng):
    z = torch.randn(3, 4, 5, generator=rng, dtype=torch.complex128)
    torch.testing.assert_close(to_complex(to_channels(z)), z, rtol=0, atol=0)
    torch.testing.assert_close(to_channels(z)[:, 1], z.imag, rtol=0, atol=0)


def test_settings_are_row_numbers():
    operator = Fourier((6, 4), torch.tensor([3, 0, 5]))
    assert operator.settings.tolist() == [3, 0, 5] and operator.block_shape == (4,)
    assert operator[torch.tensor([2, 0])].settings.tolist() == [5, 3]
    assert repr(operator) == "Fourier(shape=(6, 4), rows=<3 rows>)"


@pytest.mark.parametrize("rows", [[-1], [0, 8], [9]])
def test_a_row_outside_kspace_is_refused(rows):
    with pytest.raises(ValueError, match=r"k-space of 8 x 5 pixels has rows 0 to 7; row 4 is its centre"):
        Fourier((8, 5), torch.tensor(rows))


def test_wrong_shapes_are_refused():
    operator = Fourier((8, 5), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"shape \(8, 5\).*measures \(2, 8, 5\): the real and the imaginary"):
        operator.forward(torch.zeros(1, 8, 5))
    with pytest.raises(ValueError, match=r"have shape \(3, 5\); expected \(rows, columns\) = \(2, 5\)"):
        operator.adjoint(torch.zeros(1, 3, 5, dtype=torch.complex64))
    with pytest.raises(ValueError, match="at least 1"):
        Fourier((0, 4))
    with pytest.raises(ValueError, match="no row"):
        Fourier((4, 4), torch.zeros(0, dtype=torch.long))


NOISE = Gaussian(0.2)


def measured(rows: list[int], shape=(6, 8), noise=NOISE, repeat: int = 1) -> tuple[torch.Tensor, Data]:
    """A random image and `repeat` measurements of each of some of its rows."""
    rng = torch.Generator().manual_seed(3)
    truth, operator = torch.randn(2, *shape, generator=rng), Fourier(shape)
    data = Data(operator.image_shape)
    for row in rows * repeat:
        clean = operator[torch.tensor([row])].forward(truth[None])[0, 0]
        data = data.add(operator, row, noise.sample(clean, rng=rng), noise)
    return truth, data


def test_misfit_is_minus_the_log_likelihood():
    """Up to a constant; each of the two parts of a value is a Gaussian of variance std^2 / 2."""
    truth, data = measured([3, 1])
    (part,) = data.observations
    differences = []
    for x in (truth, 0.5 * truth):
        parts = torch.view_as_real(part.values), torch.view_as_real(part.operator.forward(x[None])[0])
        density = torch.distributions.Normal(parts[1], NOISE.std / 2**0.5).log_prob(parts[0]).sum()
        differences.append(data.misfit(x[None])[0] + density)
    torch.testing.assert_close(*differences)


def test_misfit_of_the_truth_is_half_the_number_of_real_numbers():
    truth, data = measured([0, 2, 3, 5], repeat=60)
    assert data.numel == 2 * 8 * 4 * 60
    assert (2 * data.misfit(truth[None])[0] / data.numel).item() == pytest.approx(1, abs=0.06)


def test_gradient_and_normal_are_derivatives_of_the_misfit(rng):
    _, data = measured([0, 3, 4])
    x = torch.randn(2, 2, 6, 8, generator=rng, requires_grad=True)
    (gradient,) = torch.autograd.grad(data.misfit(x).sum(), x)
    assert gradient.abs().min() > 0
    torch.testing.assert_close(data.gradient(x), gradient)
    torch.testing.assert_close(data.gradient(2 * x) - data.gradient(x), data.normal(x), rtol=1e-4, atol=1e-3)


def test_curvature_of_unitary_rows_is_their_precision():
    _, data = measured([0, 3, 4])
    assert data.lipschitz == pytest.approx(1.05 * 2 / NOISE.std**2, rel=1e-3)


def test_conjugate_gradients_recover_an_image_of_all_rows():
    truth, data = measured(list(range(6)), noise=Gaussian())
    start = torch.zeros(1, 2, 6, 8)
    found = conjugate_gradients(data.normal, -data.gradient(start), start, 3)
    torch.testing.assert_close(found[0], truth, rtol=1e-4, atol=1e-5)


def project(data: Data, clean: torch.Tensor) -> torch.Tensor:
    """`clean` with its measured rows replaced."""
    (part,) = data.observations
    kspace = Fourier((6, 8)).forward(clean)
    kspace[:, part.settings.long()] = part.values
    return Fourier((6, 8)).adjoint(kspace)


@pytest.mark.parametrize("guidance", [Soft(), Soft(batch=2)], ids=repr)
def test_soft_replaces_measured_rows(guidance, rng):
    _, data = measured([1, 2, 3, 5])
    clean = torch.randn(2, 2, 6, 8, generator=rng)
    found = guidance(lambda x, sigma: x, data)(clean, torch.ones(2))
    torch.testing.assert_close(found, project(data, clean), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 5.0])
def test_prox_weighs_measured_against_denoised_rows(sigma, rng):
    """By their variances in each real number: std^2 / 2, and sigma^2 by firmness."""
    _, data = measured([1, 2, 3, 5])
    clean = torch.randn(2, 2, 6, 8, generator=rng)
    found = Prox(firmness=3.0)(lambda x, sigma: x, data)(clean, torch.full((2,), sigma))
    variance = sigma**2 / 3
    expected = torch.lerp(clean, project(data, clean), variance / (variance + NOISE.std**2 / 2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_there_is_no_half_a_row():
    with pytest.raises(ValueError, match="whole numbers"):
        Fourier((8, 8)).at([2.5])
