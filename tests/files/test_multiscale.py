import pytest

from tomopilot.files.multiscale import multiscale_of
from tomopilot.files.reading import InputFileError

AXES = [{"name": "z", "unit": "micrometer"}, {"name": "y", "type": "space"}, {"name": "x"}]


def image(*factors, **more) -> dict:
    """An image of one scale, with a translation that says nothing of distances."""
    transforms = [
        {"type": "translation", "translation": [1, 2, 3]},
        *({"type": "scale", "scale": f} for f in factors),
    ]
    return {"axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": transforms}], **more}


def test_axes_of_every_version():
    newest = multiscale_of({"ome": {"version": "0.5", "multiscales": [image()]}})
    older = multiscale_of({"multiscales": [{"axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}]})
    oldest = multiscale_of({"multiscales": [{"datasets": [{"path": "0"}]}]})
    assert newest and older and oldest
    assert [(axis.name, axis.unit) for axis in newest.named] == [("z", "micrometer"), ("y", ""), ("x", "")]
    assert [axis.name for axis in older.named] == ["z", "y", "x"]
    assert [axis.name for axis in oldest.named] == ["t", "c", "z", "y", "x"]


def test_distances_are_those_of_the_scale_times_those_of_all():
    one = multiscale_of(
        {"multiscales": [image([2, 0.5, 0.5], coordinateTransformations=[{"scale": [1, 3, 3]}])]}
    )
    none = multiscale_of({"multiscales": [image()]})
    assert one and one.steps(one.scales[0]) == (2, 1.5, 1.5)
    assert none and none.steps(none.scales[0]) == (0, 0, 0)


@pytest.mark.parametrize("attributes", [{}, {"multiscales": []}, {"ome": 3}, {"ome": {}}], ids=str)
def test_groups_that_are_no_image(attributes):
    assert multiscale_of(attributes) is None


BAD = {
    "several images": {"multiscales": [image(), image()]},
    "multiscales describe": {"multiscales": {"0": image()}},
    "its multiscales cannot be used: datasets": {"multiscales": [{"axes": AXES}]},
    "its multiscales cannot be used: datasets.0.path": {"multiscales": [{"datasets": [{"path": 3}]}]},
    "its multiscales cannot be used: the whole": {"multiscales": ["image"]},
}


@pytest.mark.parametrize("said", BAD)
def test_wrong_metadata(said):
    with pytest.raises(ValueError) as caught:
        multiscale_of(BAD[said])
    assert said in str(caught.value)


def test_a_scale_for_each_axis():
    one = multiscale_of({"multiscales": [image([2, 0.5])]})
    with pytest.raises(InputFileError, match="for 3 axes; expected one each"):
        assert one and one.steps(one.scales[0])
