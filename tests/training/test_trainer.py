import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image
from tiny import TINY

import densityguide as dg
from densityguide.disk.storage import StorageError
from densityguide.models import pretrained
from densityguide.training import Stop, checkpoints, export, train, trainer
from densityguide.training.loss import kept_labels
from densityguide.training.optimiser import learning_rate
from densityguide.training.progress import shown
from densityguide.training.step import indices, initial_state


def same(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_loss_that_is_no_number_is_null_in_the_log(tmp_path, monkeypatch):
    def broken(state, images, labels):
        return state, {"loss": jnp.inf, "gradient": jnp.nan}

    monkeypatch.setattr(trainer, "_stepper", lambda *_: broken)
    with pytest.raises(ValueError, match="expected a finite loss, got inf at step 2: lower"):
        train(TINY, tmp_path)
    line = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert [line["step"], line["loss"], line["gradient"]] == [2, None, None]


@pytest.mark.slow
def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    optimiser = dataclasses.replace(TINY.optimiser, learning_rate=3e38, warmup=0)
    config = dataclasses.replace(TINY, optimiser=optimiser, checkpoint_steps=1, log_steps=100)
    with pytest.raises(ValueError, match=r"expected finite weights, step . has others"):
        train(config, tmp_path, progress=False)
    for step in (tmp_path / "checkpoints").glob("*"):
        assert step.name == "1"


@pytest.mark.slow
def test_resume_is_bit_identical_and_exports(tmp_path):
    whole = train(TINY, tmp_path / "whole", progress=False)
    train(TINY, tmp_path / "parts", stop_at=3, progress=False)
    part = train(TINY, tmp_path / "parts", progress=False)
    assert int(part.step) == 6
    same(whole, part)

    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert {"loss", "images_per_second", "seconds_left"} <= set(lines[0])

    with pytest.raises(ValueError, match="resume=True"):
        train(TINY, tmp_path / "whole", resume=False, progress=False)
    other = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, fields={"depth": 2}))
    with pytest.raises(ValueError, match=r"expected the \[model\] of the run"):
        train(other, tmp_path / "whole", progress=False)

    fixed = dataclasses.replace(TINY, loss=dataclasses.replace(TINY.loss, adapt=0.0))
    with pytest.raises(ValueError, match=r"expected loss\.adapt as in the run"):
        train(fixed, tmp_path / "whole", progress=False)
    for changed, words in [
        (dataclasses.replace(TINY, seed=1), "seed was 0, is 1"),
        (
            dataclasses.replace(TINY, loss=dataclasses.replace(TINY.loss, prediction="noise")),
            "loss.prediction was 'v', is 'noise'",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            train(changed, tmp_path / "whole", progress=False)
    assert whole.histogram.counts.sum() > 40

    card = export(
        tmp_path / "whole", tmp_path / "model", storage="float32", samples=2, calibration=8
    )
    module, params, again = pretrained.load(tmp_path / "model")
    same(params, whole.ema)
    assert again == dataclasses.replace(card, evaluation=again.evaluation, **_jsoned(card))
    assert len(card.evaluation["heldout_error_of_x0"]) >= 8
    assert card.description == "Denoising network, unconditional, trained on digits8."
    assert "command" not in card.training
    assert module.apply(params, jnp.zeros(card.shape), 0.0).shape == (8, 8, 1)


def _jsoned(card):
    """Tuples inside free-form fields come back from JSON as lists."""
    fields = ("network", "data", "training", "transform")
    return {name: json.loads(json.dumps(getattr(card, name))) for name in fields}


@pytest.mark.slow
def test_a_signal_saves_and_stops(tmp_path):
    def interrupt(state):
        with pytest.raises(ValueError, match="another run is at work in"):
            train(TINY, tmp_path, progress=False)
        os.kill(os.getpid(), signal.SIGTERM)

    stop = Stop()
    stopped = train(TINY, tmp_path, callback=interrupt, progress=False, stop=stop)
    assert 2 <= int(stopped.step) < 6
    assert stop.signal == signal.SIGTERM
    same(train(TINY, tmp_path, progress=False), train(TINY, tmp_path, progress=False))


def test_a_signal_while_the_loss_is_read_is_not_lost(tmp_path, monkeypatch):
    rate = trainer.learning_rate

    def late(optimiser):
        if not (tmp_path / "checkpoints").exists():  # the first line of the log, at step 2
            os.kill(os.getpid(), signal.SIGTERM)
        return rate(optimiser)

    monkeypatch.setattr(trainer, "learning_rate", late)
    stopped = train(dataclasses.replace(TINY, checkpoint_steps=6), tmp_path, progress=False)
    assert int(stopped.step) == 3
    assert checkpoints.latest_step(tmp_path) == 3


def test_a_full_disk_is_one_line_and_keeps_what_was_saved(tmp_path, monkeypatch):
    save = ocp.CheckpointManager.save

    def full(self, step, **options):
        if step == 4:
            raise ValueError(
                "Failed to write 9 bytes to file 1: No space left [os_error_code='28']"
            )
        return save(self, step, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", full)
        with pytest.raises(StorageError, match=r"write checkpoint 4 in .* \(No space left\)$"):
            train(TINY, tmp_path, progress=False)
    assert checkpoints.latest_step(tmp_path) == 2
    assert int(train(TINY, tmp_path, progress=False).step) == 6


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(path, text, *options):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            train(TINY, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_every_epoch_visits_each_image_once():
    batches = [indices(20, 0, step, 5) for step in range(8)]
    for epoch in (batches[:4], batches[4:]):
        assert sorted(np.concatenate(epoch)) == list(range(20))
    assert not np.array_equal(batches[0], batches[4])


@pytest.mark.slow
def test_files_read_ahead_train_the_same_bits_as_memory(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "album").mkdir()
    for index in range(60):
        pixels = rng.integers(0, 256, (9, 7, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "album" / f"{index}.png")
    kept = dataclasses.replace(TINY, data=str(tmp_path / "album"), shape=(8, 8, 1), preview=8)
    lazy = dataclasses.replace(kept, memory=0.0)
    whole = train(kept, tmp_path / "kept", progress=False)
    train(lazy, tmp_path / "lazy", stop_at=3, progress=False)
    same(whole, train(lazy, tmp_path / "lazy", progress=False))
    picture = Image.open(tmp_path / "kept" / "samples" / "00000006.png")
    assert picture.size == (8 * 8 * 9 - 8, 64)
    pixels = (tmp_path / "album" / "3.png").read_bytes()
    (tmp_path / "album" / "4.png").write_bytes(pixels)
    with pytest.raises(ValueError, match="expected the run's own data"):
        train(kept, tmp_path / "kept", progress=False)


@pytest.mark.slow
def test_two_devices_train_as_one_does(tmp_path):
    script = Path(__file__).with_name("devices.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    print(report)
    assert report["two are one"]
    np.testing.assert_allclose(*report["losses"], rtol=1e-4)
    assert report["resume is exact"]
    assert report["other devices go on"]
    assert "divisible by the 3 devices" in report["refusal"]


def test_a_run_is_shown_as_json_lines_or_as_a_bar(capsys, monkeypatch):
    line = {"step": 2, "loss": 0.25, "images_per_second": 1234.5}

    def show():
        with shown("tiny", 4321, 0, 2, True) as tick:
            tick(1)
            tick(2, line)
        return capsys.readouterr()

    assert json.loads(show().out) == line
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # and rich sees a terminal too
    monkeypatch.setenv("COLUMNS", "120")
    seen = show()
    assert seen.out == ""
    for words in ("4,321 parameters, steps 0 to 2", "2/2", "loss 0.2500", "1234 images/s"):
        assert words in seen.err


def test_learning_rate_phases_and_replanning():
    plan = TINY.optimiser
    plan = dataclasses.replace(plan, steps=1000, warmup=100, decay=400, learning_rate=1.0)
    rate = learning_rate(plan)
    np.testing.assert_allclose([rate(0), rate(99), rate(500)], [0.01, 1.0, 1.0], rtol=1e-5)
    np.testing.assert_allclose([rate(800), rate(1000)], [0.5, 0.0], atol=1e-6)
    sooner = learning_rate(dataclasses.replace(plan, steps=700, decay=200))
    np.testing.assert_allclose(sooner(500), rate(500), rtol=1e-6)  # no jump at a re-plan


@pytest.mark.slow
def test_labels_reach_the_network_and_some_are_dropped(tmp_path):
    """Zero-initialised rows of the class table move, that of no class among them, and the loaded
    flow takes a class as its condition."""
    fields = {"width": 16, "depth": 1, "embedding": 16, "classes": 10}
    config = dataclasses.replace(
        TINY,
        model=dataclasses.replace(TINY.model, fields=fields),
        optimiser=dataclasses.replace(TINY.optimiser, batch=64),
    )
    start = initial_state(config, (8, 8, 1))
    state = train(config, tmp_path / "run", progress=False)
    table = lambda s: s.params["params"]["time"]["Embed_0"]["embedding"]  # noqa: E731
    moved = np.abs(np.asarray(table(state) - table(start))).max(axis=1)
    assert moved.shape == (11,)
    assert np.all(moved > 0)
    card = export(tmp_path / "run", tmp_path / "model", command="me", samples=0, calibration=0)
    assert card.description == "Denoising network, with classes, trained on digits8."
    assert card.training["command"] == "me"
    flow = dg.models.load(tmp_path / "model")
    x = jnp.ones((8, 8, 1))
    scores = [flow.given(label).score(x, 0.0) for label in (-1, 0, 9)]
    np.testing.assert_array_equal(scores[0], flow.score(x, 0.0))
    assert not np.array_equal(scores[1], scores[2])
    mixed = dg.classifier_free(flow.given(3), 2.0, negative=-1)
    assert np.all(np.isfinite(dg.sample(mixed, x, steps=3, divergence=None).x))


def test_data_without_the_classes_is_refused(tmp_path):
    model = dataclasses.replace(TINY.model, fields={"width": 16, "classes": 7})
    config = dataclasses.replace(TINY, model=model)
    with pytest.raises(ValueError, match="digits8 has 10: set classes = 10"):
        train(config, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prediction": "score"}, r"expected loss\.prediction noise, data, velocity, or v"),
        ({"path": "linear"}, r"got 'v' on linear"),
        ({"path": "cosine"}, r"expected loss\.path among variance_preserving, .*got 'cosine'"),
        ({"error": "w"}, r"expected loss\.error data, noise, v or velocity, got 'w'"),
        ({"prediction": "velocity", "error": "v"}, r"expected loss\.error empty .* for velocity"),
    ],
)
def test_losses_that_cannot_be_are_refused_before_anything_is_written(tmp_path, changes, words):
    config = dataclasses.replace(TINY, loss=dataclasses.replace(TINY.loss, **changes))
    with pytest.raises(ValueError, match=words) as caught:
        train(config, tmp_path, progress=False)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_checkpoints_is_said_to_be(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(ValueError, match=r"expected a folder of .*checkpoints is a file: move it"):
        train(TINY, tmp_path, progress=False)
    assert (tmp_path / "checkpoints").read_text() == "mine"


def test_a_share_of_the_labels_is_dropped():
    kept = kept_labels(jnp.full(4000, 3), jax.random.key(0), 0.25)
    assert set(np.unique(kept)) == {-1, 3}
    np.testing.assert_allclose(np.mean(kept == -1), 0.25, atol=0.03)
