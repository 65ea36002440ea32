"""Exposures of the documents of a run."""

import h5py
import numpy as np
import pytest

from tomopilot.beamline.documents import Documents, Place, Unfit, Unreadable

SHAPE = (2, 3)
FRAME = np.arange(6, dtype=np.uint16).reshape(SHAPE)
NUMBER = {"dtype": "number", "shape": []}


def descriptor(image=(2, 3), **changes):
    """Of an event of camera, stage and monitor."""
    keys = {"camera_image": {"dtype": "array", "shape": list(image)}, "camera_gain": NUMBER, "angle": NUMBER}
    keys |= {"angle_setpoint": NUMBER, "current": NUMBER}
    known = {"camera": ["camera_image", "camera_gain"], "stage": ["angle", "angle_setpoint"]}
    known |= {"monitor": ["current"]}
    hints = {"stage": {"fields": ["angle"]}}
    return {"uid": "d", "data_keys": keys, "object_keys": known, "hints": hints} | changes


def event(**changes):
    data = {"camera_image": FRAME, "angle": 3.5, "angle_setpoint": 3.0, "current": 7.0}
    data |= changes
    return {
        "descriptor": "d",
        "seq_num": 1,
        "data": {key: value for key, value in data.items() if value is not None},
    }


def heard(*documents):
    """The only exposure in some documents."""
    found = []
    hear = Documents("stage", "camera", "monitor", SHAPE, lambda doc, shot: found.append(shot))
    for name, doc in documents:
        hear(name, doc)
    (shot,) = found
    return shot


@pytest.mark.parametrize("image", [(2, 3), (1, 2, 3), (6,), (None,)], ids=str)
def test_frame_read_back_and_monitor_of_an_event(image):
    frame = FRAME.ravel() if len(image) == 1 else FRAME.reshape(image)
    shot = heard(("descriptor", descriptor(image)), ("event", event(camera_image=frame)))
    np.testing.assert_array_equal(shot.frame(), FRAME)
    assert shot.angle == 3.5 and shot.monitor == 7.0


def resource(path, **changes):
    known = {"uid": "r", "data_key": "camera_image", "mimetype": "application/x-hdf5"}
    known |= {
        "uri": path.as_uri().replace("file://", "file://localhost"),
        "parameters": {"dataset": "entry/data"},
    }
    return known | changes


def datum(start):
    return {"stream_resource": "r", "descriptor": "d", "indices": {"start": start, "stop": start + 1}}


def test_a_frame_in_a_file_that_is_being_written(tmp_path):
    path = tmp_path / "frames of a day.h5"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset(
            "entry/data", (0, *SHAPE), "u2", maxshape=(None, *SHAPE), chunks=(1, *SHAPE)
        )
        file.swmr_mode = True
        for number in range(3):
            data.resize(number + 1, axis=0)
            data[number] = FRAME + number
            data.flush()
            shot = heard(
                ("descriptor", descriptor()),
                ("stream_resource", resource(path)),
                ("stream_datum", datum(number)),
                ("event", event(camera_image=None)),
            )
            np.testing.assert_array_equal(shot.frame(), FRAME + number)


def test_other_shapes_are_left_to_the_detector():
    shot = heard(("descriptor", descriptor((None, None))), ("event", event(camera_image=FRAME[:1])))
    assert shot.frame().shape == (1, 3)


def test_runs_of_other_devices_are_not_heard():
    hear = Documents("stage", "camera", None, SHAPE, pytest.fail)
    hear("descriptor", descriptor(object_keys={"thermometer": ["angle"]}))
    hear("event", event())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": (2, 4)}, r"camera gives camera_image \[2, 4\].* expected one of \(2, 3\)"),
        ({"hints": {}}, "stage reads angle, angle_setpoint; hint the one that counts"),
    ],
    ids=["shape", "read-back"],
)
def test_devices_that_do_not_fit(change, words):
    with pytest.raises(Unfit, match=words):
        heard(("descriptor", descriptor(**change)))


def test_frames_that_are_nowhere(tmp_path, monkeypatch):
    tiff = resource(tmp_path, mimetype="multipart/related;type=image/tiff")
    with pytest.raises(Unfit, match="neither in the event nor in an HDF5 file"):
        heard(
            ("descriptor", descriptor()),
            ("stream_resource", tiff),
            ("stream_datum", datum(0)),
            ("event", event(camera_image=None)),
        )
    with pytest.raises(Unfit, match="neither in the event"):
        heard(("descriptor", descriptor()), ("event", event(camera_image="datum/1")))
    monkeypatch.setattr("tomopilot.beamline.documents.PATIENCE", 0.1)
    with pytest.raises(Unreadable, match=r"frame 0 of entry/data in .*none\.h5 cannot be read"):
        Place(tmp_path / "none.h5", "entry/data", 0).read()
