from tomopilot.scan.plan import Method, Plan


def test_images_are_named_with_as_many_folders_as_tell_them_apart():
    """Noise follows from the name, so the same study has the same numbers wherever its files lie."""
    images = (
        "/here/lung/a.npz::0",
        "/here/chip/a.npz::0",
        "/here/chip/a.npz::1",
        "defect:/here/chip/a.npz::0",
    )
    plan = Plan(images, (Method("tv", "uniform", None),))
    assert [plan.label(image) for image in images] == [
        "lung/a.npz::0", "chip/a.npz::0", "a.npz::1", "defect:a.npz::0",
    ]  # fmt: skip
    same = ("a.npz::0", "/a.npz::0")
    assert [Plan(same, plan.methods).label(image) for image in same] == [*same]
