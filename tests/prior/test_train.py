import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from tomopilot.nets.folded import FoldedUNet
from tomopilot.prior import checkpoint, trainer
from tomopilot.prior.augment import with_tone
from tomopilot.prior.checkpoint import CARD, WEIGHTS, load_prior
from tomopilot.prior.denoiser import Stationary
from tomopilot.prior.train import HISTORY, branched, clean_images, read_history, train, validate
from tomopilot.prior.trainer import STATE, Trainer, read_note
from tomopilot.prior.training import Training, adapting
from tomopilot.report.prior_sheet import likenesses, linear_denoiser, memory, report_prior

TINY = Training(
    network={"fold": 2, "widths": [8, 8], "groups": 4, "layers": 1},
    steps=8,
    batch=4,
    crop=16,
    warmup=2,
    learning_rate=3e-3,
    save_every=4,
    validate_every=2,
)
CARD_FACTS = {"name": "tiny"}


@pytest.fixture
def images(rng):
    return (torch.rand(6, 16, 16, generator=rng) > 0.5).float()


def trained(out, images, training=TINY, stop=None, resume=False):
    """All progress up to the step `stop`, where the process is as good as killed."""
    out.mkdir(exist_ok=True)
    steps = []
    for progress in train(images, training, out, validation=images, card=CARD_FACTS, resume=resume):
        steps.append(progress)
        if progress.step == stop:
            break
    return steps


def assert_same_prior(first, second):
    ours, theirs = (load_prior(folder).denoise.network.state_dict() for folder in (first, second))
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)


def assert_same_files(first, second):
    """To the byte, but for the processor's seconds."""
    for name in (STATE, WEIGHTS, CARD):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    ours, theirs = ([{**e, "seconds": 0} for e in read_history(folder)] for folder in (first, second))
    assert ours == theirs and ours


@pytest.mark.fault
@pytest.mark.parametrize("killed_at", [4, 7])
def test_resumed_equals_uninterrupted(tmp_path, images, killed_at):
    straight = trained(tmp_path / "straight", images)
    trained(tmp_path / "halves", images, stop=killed_at)
    torch.manual_seed(99)  # a fresh process has another global state
    torch.rand(3)
    rest = trained(tmp_path / "halves", images, resume=True)
    assert [p.step for p in rest] == [5, 6, 7, 8]
    assert [p.loss for p in rest] == [p.loss for p in straight[4:]]
    assert_same_prior(tmp_path / "straight", tmp_path / "halves")
    assert_same_files(tmp_path / "straight", tmp_path / "halves")


STAGED = replace(
    TINY,
    network={"fold": 2, "widths": [8, 8], "blocks": [1, 1], "heads": 2},
    early={"steps": 3, "batch": 6, "crop": 8},
    batch=3,
    muon=0.01,
)


@pytest.mark.fault
@pytest.mark.parametrize("killed_at", [2, 4, 7])
def test_stages_and_muon_resume_to_the_same_bits(tmp_path, images, killed_at):
    setup = replace(STAGED, save_every=1)
    straight = trained(tmp_path / "straight", images, setup)
    trained(tmp_path / "halves", images, setup, stop=killed_at)
    rest = trained(tmp_path / "halves", images, setup, resume=True)
    assert [p.loss for p in rest] == [p.loss for p in straight[killed_at:]]
    assert [p.images_seen for p in straight] == [6, 12, 18, 21, 24, 27, 30, 33]
    assert_same_files(tmp_path / "straight", tmp_path / "halves")


def test_a_stage_draws_from_the_images_that_hold_its_views(images):
    """Images of 12 pixels are drawn while views are 8 wide, and no more once they are 16 wide."""
    small = [torch.full((12, 12), torch.nan)] * 6
    early = Trainer(STAGED)
    with pytest.raises(FloatingPointError):
        early.update([*images, *small])
    early.step = STAGED.early["steps"]
    for _ in range(5):
        assert math.isfinite(early.update([*images, *small]))


def test_a_step_in_parts_is_the_same_step(images, monkeypatch):
    whole, parts = Trainer(STAGED), Trainer(STAGED)
    losses = [whole.update(images)]
    monkeypatch.setitem(trainer.AT_ONCE, "cpu", 2 * 8 * 8)  # two small views
    losses.append(parts.update(images))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_branch_decays_and_leaves_the_long_stretch_as_it_was(tmp_path, images):
    """From step 6 on, a quarter of the eight steps of the branch; it resumes like any training."""
    endless = replace(STAGED, steps=0, decay=0.25, save_every=2)
    trained(tmp_path / "long", images, endless, stop=6)
    before = (tmp_path / "long" / STATE).read_bytes()
    final, setup = branched(tmp_path / "long", endless)
    assert (final, setup.steps) == (tmp_path / "long" / "final", 8)
    assert [setup.rate(step) < setup.learning_rate for step in range(5, 8)] == [False, False, True]
    assert [p.step for p in trained(final, images, setup, stop=7, resume=True)] == [7]
    again = branched(tmp_path / "long", endless)
    assert again == (final, setup)
    assert [p.step for p in trained(final, images, setup, resume=True)] == [7, 8]
    assert (tmp_path / "long" / STATE).read_bytes() == before
    trained(tmp_path / "long", images, endless, stop=12, resume=True)
    later, longer = branched(tmp_path / "long", endless)
    assert longer.steps == 16 and read_note(later)["step"] == 12


def test_hours_end_a_training_that_has_no_end(tmp_path, images):
    endless = replace(STAGED, steps=0)
    steps = list(train(images, endless, tmp_path, validation=images, card={}, hours=1e-9))
    assert len(steps) == 1 and read_history(tmp_path)[-1]["seconds"] >= 0
    assert not list(train(images, endless, tmp_path, validation=images, card={}, hours=1e-9, resume=True))
    load_prior(tmp_path)


def test_muon_is_for_networks_with_matrices():
    with pytest.raises(ValueError, match="muon is for networks with `blocks`"):
        Trainer(replace(TINY, muon=0.01))


@pytest.mark.fault
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, images, monkeypatch):
    trained(tmp_path / "full", images, stop=4)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            trained(tmp_path / "full", images, resume=True)
    load_prior(tmp_path / "full")
    assert [p.step for p in trained(tmp_path / "full", images, resume=True)] == [5, 6, 7, 8]


def test_start_from_another_prior(tmp_path, images):
    trained(tmp_path / "first", images)
    first = load_prior(tmp_path / "first")
    later = Trainer(replace(TINY, seed=7))
    later.begin_from(first)
    for ours in (later.network, later.average):
        for name, value in first.network.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)
    other = replace(TINY, network={"fold": 2, "widths": [8, 16], "groups": 4, "layers": 1})
    with pytest.raises(ValueError, match=r"'tiny' has the network .* the recipe's is .*16"):
        Trainer(other).begin_from(first)


def test_low_rank_updates_end_in_an_ordinary_prior(tmp_path, images):
    """Convolutions differ from the prior it starts from by matrices of the rank, nothing else does."""
    trained(tmp_path / "first", images, stop=4)
    first, low = load_prior(tmp_path / "first"), replace(TINY, rank=1)
    for name, stop in (("low", None), ("killed", 4)):
        for at in train(images, low, tmp_path / name, validation=images, card=CARD_FACTS, start=first):
            if at.step == stop:
                break
    trained(tmp_path / "killed", images, low, resume=True)
    assert_same_files(tmp_path / "low", tmp_path / "killed")
    after = load_prior(tmp_path / "low")
    changes = [
        (name, value - first.network.state_dict()[name]) for name, value in after.network.state_dict().items()
    ]
    changed = {name: change for name, change in changes if change.any()}
    assert changed and all("conv" in name and name.endswith("weight") for name in changed)
    for name, change in changed.items():
        values = torch.linalg.svdvals(change.flatten(1))
        assert values[1:].max() < 1e-2 * values[0], name  # of 7, averaged over steps


def test_updates_need_a_prior(tmp_path, images):
    with pytest.raises(ValueError, match=r"rank 2 .*--start-from"):
        trained(tmp_path / "none", images, replace(TINY, rank=2))


def test_adapting_goes_on_from_what_a_card_says():
    """Its network, range and views; old cards have one number as zoom, complex ones a symmetric range."""
    card = {"network": {"fold": 2}, "prediction": "v", "range": [-2.0, 2.0], "phase": 1.0}
    views = {"crop": 32, "zoom": 1.3, "turn": 10, "steps": 99, "evenly": "source"}
    card["network"] |= {"channels": 2}
    setup = adapting({**card, "training": views}, rank=4)
    assert (setup.network, setup.limits, setup.phase) == (card["network"], (-2.0, 2.0), 1.0)
    assert (setup.crop, setup.zoom, setup.turn) == (32, (1.0, 1.3), 10)
    assert (setup.steps, setup.evenly, setup.rank) == (400, "", 4)
    plain = adapting({"network": {"fold": 2}, "prediction": "epsilon", "range": [0.5, 2.0]})
    assert (plain.range, plain.rank, plain.prediction) == ((0.5, 2.0), 0, "epsilon")


@pytest.mark.parametrize("samples, said", [(0.5, "no sign"), (0.7, "may have memorised")])
def test_memory_is_told_from_likeness(samples, said):
    likeness = {"samples": [0, 0, samples, 1, 1], "validation": [0, 0, 0.55, 1, 1]}
    assert said in memory({"likeness_to_training": likeness})


def test_training_leaves_the_global_random_state(tmp_path, images):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained(tmp_path / "one", images, replace(TINY, steps=1))
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


def test_resume_of_a_finished_training_does_nothing(tmp_path, images):
    trained(tmp_path / "done", images)
    before = (tmp_path / "done" / WEIGHTS).read_bytes()
    assert trained(tmp_path / "done", images, resume=True) == []
    assert (tmp_path / "done" / WEIGHTS).read_bytes() == before


def test_loss_falls(tmp_path, images):
    easy = torch.full((2, 16, 16), 0.25)
    longer = replace(TINY, steps=40, save_every=40, validate_every=20, ema=0.9)
    steps = trained(tmp_path / "easy", easy, longer)
    first, last = (torch.tensor([p.loss for p in part]).mean() for part in (steps[:6], steps[-10:]))
    assert last < 0.7 * first, (first, last)  # measured 0.55
    early, late = (p.validation for p in steps if p.validation)
    assert late["1.0"] < early["1.0"]
    assert (steps[-1].images_seen, steps[-1].step) == (160, 40)


def test_card_tells_how_it_was_made(tmp_path, images):
    trained(tmp_path / "tiny", images)
    card = load_prior(tmp_path / "tiny").card
    assert card["name"] == "tiny" and card["steps"] == 8 and card["images_seen"] == 32
    assert card["training"]["learning_rate"] == 3e-3 and card["validation_loss"] > 0
    history = json.loads((tmp_path / "tiny" / "history.json").read_text())
    assert [entry["step"] for entry in history] == [2, 4, 6, 8]


CHANGES = {"learning_rate": 1e-3, "seed": 1, "batch": 5, "range": (0.0, 2.0), "prediction": "epsilon"}


@pytest.mark.parametrize("key", CHANGES)
def test_changed_recipe_is_refused_naming_the_key_alone(tmp_path, images, key):
    trained(tmp_path / "begun", images, stop=4)
    with pytest.raises(ValueError) as caught:
        trained(tmp_path / "begun", images, replace(TINY, **{key: CHANGES[key]}), resume=True)
    named = {word.strip(",;.") for word in str(caught.value).replace(str(tmp_path), "").split()}
    assert named & vars(TINY).keys() - {"steps"} == {key}


def test_more_steps_may_follow(tmp_path, images):
    trained(tmp_path / "begun", images)
    assert [p.step for p in trained(tmp_path / "begun", images, replace(TINY, steps=10), resume=True)] == [
        9,
        10,
    ]


def test_nothing_to_resume(tmp_path, images):
    with pytest.raises(ValueError, match=r"nothing.*no training to resume"):
        trained(tmp_path / "nothing", images, resume=True)


@pytest.mark.parametrize("content", [b"", b"junk" * 40], ids=["empty", "junk"])
def test_broken_state_is_refused(tmp_path, images, content):
    trained(tmp_path / "begun", images, stop=4)
    (tmp_path / "begun" / STATE).write_bytes(content)
    with pytest.raises(ValueError, match="no training to resume"):
        trained(tmp_path / "begun", images, resume=True)


@pytest.mark.fault
def test_leftovers_of_a_kill_are_ignored(tmp_path, images):
    straight = trained(tmp_path / "straight", images)
    trained(tmp_path / "killed", images, stop=4)
    for name in (STATE, WEIGHTS, CARD):
        (tmp_path / "killed" / (name + ".partial")).write_bytes(b"half a fi")
    load_prior(tmp_path / "killed")
    rest = trained(tmp_path / "killed", images, resume=True)
    assert [p.loss for p in rest] == [p.loss for p in straight[4:]]
    assert_same_prior(tmp_path / "straight", tmp_path / "killed")


@pytest.mark.fault
@pytest.mark.parametrize("write", range(4))
def test_kill_at_any_write_leaves_a_loadable_prior_and_state(tmp_path, images, monkeypatch, write):
    trained(tmp_path / "killed", images, stop=4)
    real, done = checkpoint.write_atomically, []

    def killed(path, content):
        if len(done) == write:
            raise KeyboardInterrupt
        real(path, content)
        done.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", killed)
        patch.setattr("tomopilot.prior.train.write_atomically", killed, raising=False)
        try:
            trained(tmp_path / "killed", images, resume=True)
        except KeyboardInterrupt:
            assert len(done) == write
        else:
            assert write >= 3
    load_prior(tmp_path / "killed")
    trained(tmp_path / "killed", images, resume=True)


@pytest.mark.fault
def test_kill_while_writing_the_history(tmp_path, images):
    trained(tmp_path / "killed", images, stop=4)
    (tmp_path / "killed" / "history.json").write_text('[{"step": 2, "ima')  # not written atomically
    trained(tmp_path / "killed", images, resume=True)


def test_loss_that_is_no_number_stops_the_training(images):
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        Trainer(TINY).update(images * float("nan"))


def test_rate_warms_up_and_dies_out():
    setup = Training(steps=100, warmup=10, decay=0.3, learning_rate=1.0)
    rates = [setup.rate(step) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == rates[69] == 1.0 and 0 < rates[99] < 0.05
    assert rates[70:] == sorted(rates[70:], reverse=True)


def test_an_endless_rate_falls_as_the_root_of_the_step():
    setup = Training(steps=0, warmup=10, calm=100, learning_rate=1.0)
    found = [setup.rate(step) for step in (9, 99, 399, 9999)]
    assert found == pytest.approx([1.0, 1.0, 0.5, 0.1])
    with pytest.raises(ValueError, match="calm"):
        Training(calm=-1)


def test_bytes_and_fractions_train_alike(images):
    first, second = Trainer(TINY), Trainer(TINY)
    losses = first.update(images), second.update((images * 255).to(torch.uint8))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


COMPLEX = replace(TINY, network={**TINY.network, "channels": 2}, phase=0.8)


@pytest.mark.parametrize("training", [COMPLEX, replace(COMPLEX, range=(0.0, 2.0))], ids=["1", "2"])
def test_complex_priors_resume_to_the_same_bits(tmp_path, images, training):
    straight = trained(tmp_path / "straight", images, training)
    trained(tmp_path / "halves", images, training, stop=5)
    rest = trained(tmp_path / "halves", images, training, resume=True)
    assert [p.loss for p in rest] == [p.loss for p in straight[4:]]
    assert_same_files(tmp_path / "straight", tmp_path / "halves")
    prior = load_prior(tmp_path / "straight")
    assert (prior.low, prior.high, prior.peak) == (-training.range[1], training.range[1], training.range[1])
    assert prior.card["phase"] == 0.8 and prior.complex
    assert prior(torch.zeros(3, 2, 16, 8), torch.ones(3)).shape == (3, 2, 16, 8)
    prior.check_shape((2, 16, 8))
    with pytest.raises(ValueError, match=r"'tiny' is of complex images, but real ones .*without a `phase`"):
        prior.check_shape((16, 16))
    with pytest.raises(ValueError, match=r"the image is 2 x 16 x 9 pixels"):
        prior.check_shape((2, 16, 9))


def test_a_real_prior_refuses_complex_images(tmp_path, images):
    trained(tmp_path / "tiny", images)
    prior = load_prior(tmp_path / "tiny")
    assert not prior.complex and "phase" not in prior.card and prior.peak == 1.0
    with pytest.raises(ValueError, match=r"'tiny' is of real images, but complex ones .*with a `phase`"):
        prior.check_shape((2, 16, 16))


def test_training_sees_complex_images_of_the_magnitudes(images, monkeypatch):
    """Magnitudes between 0 and 1 in units of the range, with phases all round the circle."""
    seen = []
    setup = Trainer(replace(COMPLEX, range=(0.0, 2.0)))
    network = setup.network.forward
    monkeypatch.setattr(setup.network, "forward", lambda x, time: seen.append((x, time)) or network(x, time))
    for _ in range(20):
        setup.update(2 * images)
    clearest = [x[i] for x, time in seen for i in range(len(x)) if time[i] < 100]
    assert len(clearest) > 3 and clearest[0].shape == (2, 16, 16)
    sizes = torch.stack(clearest).square().sum(1).sqrt().flatten(1)
    assert (sizes.quantile(0.9, 1) > 0.7).all() and (sizes.quantile(0.9, 1) < 1.5).all()
    means = torch.stack(clearest).mean((2, 3))
    assert (means < 0).any() and (means > 0).any()


def test_a_training_from_before_complex_images_resumes(tmp_path, images, monkeypatch):
    def of_old(training):
        later = {"phase", "tone", "evenly"}
        return {key: value for key, value in asdict(training).items() if key not in later}

    with monkeypatch.context() as patch:
        patch.setattr("tomopilot.prior.trainer.asdict", of_old)
        trained(tmp_path / "old", images, stop=4)
    assert [p.step for p in trained(tmp_path / "old", images, resume=True)] == [5, 6, 7, 8]
    with pytest.raises(ValueError, match="phase"):
        trained(tmp_path / "old", images, COMPLEX, resume=True)


WRONG = {
    "phase is 0.0; expected a number above 0": {"network": COMPLEX.network},
    "channels = 2": {"phase": 0.5},
    "range is .* highest magnitude": {"network": COMPLEX.network, "phase": 0.5, "range": (-1.0, 1.0)},
    "phase is -0.5": {"network": COMPLEX.network, "phase": -0.5},
}


@pytest.mark.parametrize("words", WRONG)
def test_phase_channels_and_range_belong_together(words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **WRONG[words])


def test_three_channels_are_refused():
    with pytest.raises(ValueError, match="3 channels"):
        FoldedUNet(2, [8, 8], groups=4, channels=3)


def test_magnitudes_are_not_negative(tmp_path, images):
    with pytest.raises(ValueError, match=r"down to -0\.2.*magnitudes"):
        trained(tmp_path / "negative", images - 0.2, COMPLEX)


@pytest.mark.parametrize("training", [TINY, COMPLEX], ids=["real", "complex"])
def test_report_shows_samples_beside_slices_and_tells_the_card(tmp_path, images, training):
    trained(tmp_path / "tiny", images, training)
    facts = report_prior(tmp_path / "tiny", images, images, "cpu")
    assert {"samples.png", "validation.png"} <= {path.name for path in (tmp_path / "tiny").iterdir()}
    card = load_prior(tmp_path / "tiny").card
    assert card["linear_denoiser_loss"] == facts["linear_denoiser_loss"] > 0
    assert card["likeness_to_training"]["validation"] == pytest.approx(
        [1.0] * 5, abs=1e-3
    )  # they are the same
    assert card["likeness_to_training"]["samples"][-1] < 0.999
    assert card["validation_mse"].keys() == facts["linear_denoiser_mse"].keys()


def test_a_window_is_found_wherever_and_however_it_lies(rng):
    image = torch.rand(24, 24, generator=rng)
    others = list(torch.rand(3, 24, 24, generator=rng))
    part = image[5:21, 3:19]  # its middle half is 8 pixels wide, at (9, 7)
    for turned in (part, part.T, torch.rot90(part), torch.rot90(part.T, 3)):
        (found,) = likenesses([0.5 * turned - 0.2], [*others, image], halved=False)
        assert found.correlation == pytest.approx(1.0, abs=0.02)
        torch.testing.assert_close(0.5 * found.window - 0.2, found.middle)
    (stranger,) = likenesses([torch.rand(16, 16, generator=rng)], [*others, image], halved=False)
    assert stranger.correlation < 0.8


def test_a_flat_picture_is_like_nothing():
    (found,) = likenesses([torch.zeros(16, 16)], [torch.ones(16, 16)], halved=False)
    assert found.correlation == 0.0


def test_linear_denoiser_is_the_best_of_its_kind(rng):
    """Against the closed form for white images, and better than any other gain for coloured ones."""
    white = torch.randn(400, 8, 8, generator=rng)
    errors = validate(Stationary.of(white), white)
    assert errors["1.0"] == pytest.approx(0.5, rel=0.05) and errors["0.1"] == pytest.approx(0.01, rel=0.05)
    coloured = white.cumsum(-1).cumsum(-2) / 8
    fitted = Stationary.of(coloured)
    best = validate(fitted, coloured)["1.0"]
    assert best < validate(Stationary(fitted.mean, 2 * fitted.power), coloured)["1.0"]
    assert best < validate(Stationary(fitted.mean, fitted.power / 2), coloured)["1.0"]


def test_linear_denoiser_needs_images_large_enough(tmp_path, images):
    trained(tmp_path / "tiny", images)
    with pytest.raises(ValueError, match="as large as the validation images"):
        linear_denoiser(load_prior(tmp_path / "tiny"), images, torch.Size([32, 32]))


def test_images_of_several_sizes_train_and_groups_are_drawn_alike(tmp_path, images, monkeypatch):
    mixed = [*images, torch.zeros(32, 32)]
    drawn = []
    views = "tomopilot.prior.trainer.random_views"
    real = Trainer.update.__globals__["random_views"]
    monkeypatch.setattr(views, lambda chosen, *a, **k: drawn.extend(chosen) or real(chosen, *a, **k))
    groups = ["many"] * 6 + ["one"]
    list(train(mixed, replace(TINY, steps=50), tmp_path, validation=images, card={}, groups=groups))
    alone = sum(len(image) == 32 for image in drawn)
    assert 70 < alone < 130  # of 200, expected 100 +- 7; without groups 29 +- 5


def test_validation_images_are_of_one_size(tmp_path, images):
    held = [images[0], torch.zeros(32, 32)]
    with pytest.raises(ValueError, match="validation images have several sizes"):
        list(train(images, TINY, tmp_path, validation=held, card={}))


def test_a_phase_needs_images_of_one_size(tmp_path, images):
    with pytest.raises(ValueError, match="several sizes, but the recipe has a phase"):
        list(train([*images, torch.zeros(32, 32)], COMPLEX, tmp_path, validation=images, card={}))


def test_changed_tone_keeps_black_and_white(images):
    clean = clean_images(images, (0.0, 1.0), 0.0)
    grey = torch.full((200, 4, 4), -0.5)
    rng = torch.Generator().manual_seed(0)
    torch.testing.assert_close(with_tone(clean, 0.5, rng), clean)
    toned = with_tone(grey, 0.3, rng)[:, 0, 0]
    assert toned.min() < -0.6 < -0.4 < toned.max() and ((toned > -0.5).float().mean() - 0.5).abs() < 0.12


@pytest.mark.parametrize(
    "text", ["", "[1", "5", "[5]", '[{"step": 1}]', '[{"step": 1, "validation": {"0": 1}}]']
)
def test_a_damaged_history_is_an_empty_one(tmp_path, text):
    """The picture of the curve is lost, not the training; also where it changes its levels of noise."""
    one, other = ({"step": 1, "images_seen": 4, "validation": {level: 0.5}} for level in ("0.1", "0.3"))
    (tmp_path / HISTORY).write_text(json.dumps([one, other]))
    assert read_history(tmp_path) == []
    (tmp_path / HISTORY).write_text(text)
    assert read_history(tmp_path) == []
    (tmp_path / HISTORY).write_text(json.dumps([one]))
    assert read_history(tmp_path) == [one]
