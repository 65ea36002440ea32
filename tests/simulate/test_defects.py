"""A painted defect: dark within, bright at its rim, and nothing elsewhere."""

import torch

from tomopilot.files.images import count_images, read_images, single_specs
from tomopilot.simulate.defects import defect, void


def test_void():
    painted = void(torch.full((128, 128), 0.5), radius=10.0, row=40.0, column=60.0)
    assert painted[40, 60] < 1e-9 and painted[45, 62] < 1e-4
    torch.testing.assert_close(painted[40, [50, 70]], torch.tensor([0.5, 0.5]))  # as bright as the image
    assert (painted[80:] == 0.5).all()


def test_rim_of_a_black_and_white_image():
    image = torch.zeros(64, 64)
    image[0, 0] = 2.0
    painted = void(image, radius=8.0, row=32.0, column=32.0)
    assert painted[32, 40] == 2.0 and painted.min() == 0 and painted.max() == 2.0


def test_the_name_decides():
    image = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(defect(image, "a"), defect(image, "a"))
    assert not torch.equal(defect(image, "a"), defect(image, "b"))
    wide = defect(torch.complex(image, image)[:, :48], "a")
    assert wide.is_complex() and wide.shape == (64, 48)


def test_named_by_a_spec():
    spec = "defect:phantom:chip@64::3,5"
    plain, painted = read_images("phantom:chip@64::3,5"), read_images(spec)
    assert [image.name for image in painted] == ["defect:phantom:chip@64::3", "defect:phantom:chip@64::5"]
    for before, after in zip(plain, painted, strict=True):
        changed = (before.pixels != after.pixels).float().mean()
        assert 0 < changed < 0.1
    assert count_images(spec) == 2
    again = [read_images(single)[0].pixels for single in single_specs(spec)]
    assert all(torch.equal(a.pixels, b) for a, b in zip(painted, again, strict=True))
