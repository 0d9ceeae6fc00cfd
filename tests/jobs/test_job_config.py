"""Settings of jobs: read, overridden, refused in one line."""

from pathlib import Path

import pytest

from densityguide.app.jobs import config
from densityguide.app.jobs.config import Guidance, Sampling
from densityguide.disk import settings

TEXT = """
kind = "sample"
model = "world:gaussian"
count = 8
[guidance]
kind = "quantile"
values = [0.4, 0.6]
"""
ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.toml"))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(TEXT)
    return path


def test_read(path):
    expected = Sampling("world:gaussian", 8, guidance=Guidance("quantile", (0.4, 0.6)))
    assert config.read(path) == expected


def test_every_key_can_be_overridden(path):
    job = config.read(path, ["count=16", "output.shard = 128", "guidance.values=[0.7]", "model=m"])
    assert (job.count, job.output.shard, job.guidance.values, job.model) == (16, 128, (0.7,), "m")


def test_record_is_what_was_read(path):
    job = config.read(path)
    record = config.record(job)
    assert record.pop("kind") == "sample"
    assert config.check(settings.build(Sampling, record)) == job


def test_differences_name_the_key(path):
    one, two = (config.record(config.read(path, given)) for given in ([], ["solve.steps=9"]))
    assert settings.differences(one, two) == ["solve.steps was 0, is 9"]
    assert settings.differences(one, one) == []


def test_shipped_jobs_can_be_read():
    kinds = {"sample", "density", "alignment"}
    jobs = [path for path in CONFIGS if settings.read(path).get("kind") in kinds]
    assert len(jobs) >= 5
    for path in jobs:
        config.read(path)
        first = path.read_text().splitlines()[0]
        assert first.startswith("# "), f"{path}: a comment says what it is for"
        assert f"run {path.relative_to(ROOT)}" in path.read_text(), f"{path}: the command is in it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("kind=[1]", "expected kind = one of sample"),
        ("kind=dance", "expected kind = one of sample, density, alignment, train"),
        ("cuont=3", "unknown configuration key cuont: did you mean 'count'"),
        ("guidance.vaules=[1.0]", "unknown configuration key guidance.vaules"),
        ("guidance=3", r"expected a table \[guidance\]"),
        ("count=0", "expected count in 1"),
        ("count=many", "expected a whole number for count, got 'many'"),
        ("count=true", "expected a whole number for count, got true"),
        ("count=3\nmodel='other'", "expected a whole number for count"),
        ("seed=-1", "expected seed in 0"),
        ("solve.steps=-1", "expected solve.steps"),
        ("solve.solver=rk99", "rk99"),
        ("solve.tolerance=0", "solve.tolerance must be positive, got 0"),
        ("solve.tolerance=true", "solve.tolerance"),
        ("solve.tolerance=-1", "solve.tolerance must be positive, got -1"),
        ('solve.tolerance="0bpd"', "solve.tolerance must be positive, got 0bpd"),
        ('solve.tolerance="0.1pbd"', "solve.tolerance takes numbers of nats, or of bits/dim"),
        ('solve.tolerance="nan"', "solve.tolerance takes numbers of nats, or of bits/dim"),
        ("solve.rtol=-1.0", "expected finite solve.rtol >= 0"),
        ("solve.rtol=inf", "expected finite solve.rtol >= 0"),
        ("solve.divergence=guess", "expected solve.divergence among auto"),
        ("solve.probes=1", "expected solve.probes in 2"),
        ("output.shard=12", "multiple of output.block.*set shard = 16"),
        ("count=4294967296", "expected at most 1,000,000 shards.*set output.shard = 8592"),
        ("output.format=hdf5", "expected output.format among npz, zarr"),
        ("guidance.kind=", "expected guidance.kind beside its values"),
        ("guidance.kind=magic", "expected guidance.kind among quantile"),
        ("guidance.values=[]", "expected guidance.values, got none"),
        ("guidance.values=[1.0]", "expected guidance.values between 0 and 1"),
        ("guidance.values=0.5", "expected a list for guidance.values, got 0.5"),
        ("guidance.values=['a']", r"expected a number for guidance.values\[0\], got 'a'"),
        ("guidance.land=true", "expected guidance.kind = target beside land = true"),
        ("noise.band=[1.0]", "expected noise.band"),
        ("states=false", "expected images or states"),
        ("model.a=1", "expected a table model"),
        ("count", "expected KEY=VALUE"),
    ],
)
def test_refusals(path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        config.read(path, [change])
    assert "\n" not in str(caught.value)


def test_numbers_that_are_none_are_refused(path):
    for value in ("nan", "inf"):
        with pytest.raises(ValueError, match=f"expected finite guidance.values, got {value}"):
            config.read(path, ["guidance.kind=budget", f"guidance.values=[{value}]"])


def test_a_tolerance_is_alone(path):
    assert config.read(path, ["solve.tolerance=0.5"]).solve.tolerance == 0.5
    with pytest.raises(ValueError, match=r"expected solve\.tolerance alone"):
        config.read(path, ["solve.tolerance=0.01bpd", "solve.steps=8"])


def test_landing_needs_a_trace(path):
    changes = ["guidance.kind=target", "guidance.values=[3.0]", "guidance.land=true"]
    assert config.read(path, changes).guidance.land
    with pytest.raises(ValueError, match="other than none: landing measures log p"):
        config.read(path, [*changes, "solve.divergence=none"])


def test_a_class_may_be_written_as_a_number(path):
    assert config.read(path, ["condition=3"]).condition == "3"


def test_a_byte_order_mark_is_no_setting(path):
    plain = config.read(path)
    path.write_text(TEXT, "utf-8-sig")
    assert config.read(path) == plain


def test_no_file_and_no_toml(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        config.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(ValueError, match="expected TOML"):
        config.read(tmp_path / "bad.toml")


def test_a_shape_may_be_written_as_a_text():
    values = {"model": "m", "data": "pictures", "shape": "32x24x3"}
    assert settings.build(config.Density, values).shape == (32, 24, 3)
    values["shape"] = [32, 24, 3]
    assert settings.build(config.Density, values).shape == (32, 24, 3)
    values["shape"] = "32 x 24"
    with pytest.raises(ValueError, match="expected a list for shape, got '32 x 24'"):
        settings.build(config.Density, values)
