"""Calibrations of classes, and cards of other formats."""

import dataclasses
import json
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.models import calibrations, card, pretrained

TIMES = jnp.linspace(-8.0, 7.0, 4)


def made(label, dial=True):
    scale = label + 2.0
    ends = jnp.asarray([0.1 + 0.01 * label, 0.9]) if dial else None
    return dg.Calibration(TIMES, scale * TIMES, jnp.full(4, scale), ends)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(pretrained.FOLDER / "digits8-class", tmp_path / "model")


def test_each_class_has_its_own(folder):
    calibrations.write(folder, [made(label) for label in range(-1, 10)])
    flow = dg.models.load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for label in (-1, 0, 9):
            told = flow.given(label).calibration
            for seen, wanted in zip(told, made(label), strict=True):
                np.testing.assert_allclose(seen, wanted, rtol=1e-6)
    traced = jax.jit(lambda label: flow.given(label).calibration.spread[0])
    assert float(traced(3)) == float(flow.given(3).calibration.spread[0]) == 5.0


def test_other_weights_have_none(folder):
    calibrations.write(folder, [made(label) for label in range(-1, 10)])
    flow = dg.models.load(folder).given(2)
    with pytest.warns(UserWarning, match="belongs to its old params"):
        other = flow.replace(params=jax.tree.map(lambda leaf: 2 * leaf, flow.params.weights))
    assert other.calibration is None
    assert other.calibrations is None
    assert dg.classifier_free(flow, scale=2.0, negative=-1).calibrations is None


def test_one_of_ones_own_stays_under_its_class(folder):
    calibrations.write(folder, [made(label) for label in range(-1, 10)])
    flow, mine = dg.models.load(folder), made(20)
    assert flow.given(3, calibration=mine).given(3).calibration is mine
    assert float(flow.given(3, calibration=mine).given(4).calibration.spread[0]) == 6.0


def test_those_of_the_old_weights_or_clock_go_with_them(folder):
    calibrations.write(folder, [made(label) for label in range(-1, 10)])
    flow = dg.models.load(folder)
    other = jax.tree.map(lambda leaf: 2 * leaf, flow.params.weights)
    assert flow.replace(params=other, calibration=made(0)).calibrations is None
    assert flow.replace(calibration=made(0)).calibrations is flow.calibrations
    bare = flow.given(3, calibration=None)
    with pytest.warns(UserWarning, match="belongs to its old interval"):
        assert bare.replace(interval=(-12.0, 12.0)).calibrations is None


def test_one_for_all_is_that_of_no_class(folder):
    calibrations.write(folder, [made(-1, dial=False)])
    flow = dg.models.load(folder)
    assert flow.calibrations is None
    assert flow.calibration.dial is None
    with pytest.warns(UserWarning, match="belongs to its old condition"):
        assert flow.given(1).calibration is None


def test_those_that_do_not_belong_together_are_refused(folder):
    before = (folder / calibrations.FILE).read_bytes()
    for other in (made(0, dial=False), made(0)._replace(times=2.0 * TIMES)):
        with pytest.raises(ValueError, match="with the same times, all with or all without a dial"):
            calibrations.write(folder, [made(-1), other])
    assert (folder / calibrations.FILE).read_bytes() == before


def test_too_few_classes_are_refused(folder):
    calibrations.write(folder, [made(label) for label in range(-1, 3)])
    with pytest.raises(ValueError, match=r"log_density must be \[11, 4\]"):
        dg.models.load(folder)


def test_cards_carry_a_format_and_older_ones_load(folder):
    file = folder / "card.json"
    values = json.loads(file.read_text())
    for name in ("format", "measured"):
        values.pop(name, None)
    file.write_text(json.dumps(values))
    old = card.read(file)
    assert old.format == 0
    card.write(file, old)
    assert card.read(file) == dataclasses.replace(old, format=card.FORMAT)
    file.write_text(json.dumps(values | {"format": card.FORMAT + 1, "unheard": "of"}))
    with pytest.raises(ValueError, match="is of format 2: update densityguide"):
        dg.models.load(folder)
