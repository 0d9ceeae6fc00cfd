"""Prompts: on the command line, in jobs, and every way to get them wrong."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.app import source
from densityguide.app.cli import main
from densityguide.flow.conditions import Mixed

torch = pytest.importorskip("torch", reason="needs the extra diffusers, tested on its own")
pytest.importorskip("torchax", reason="needs the extra diffusers, tested on its own")
diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers, tested on its own")
pytest.importorskip("transformers", reason="needs the extra diffusers, tested on its own")

import tiny_pipelines  # noqa: E402

from densityguide.models import diffusers_load  # noqa: E402
from densityguide.models.diffusers import from_diffusers  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tiny_pipelines.save(tmp_path_factory.mktemp("prompts"), "sd")


def test_the_command_line_draws_what_the_prompt_says(saved, tmp_path, capsys):
    options = "--negative", "blur", "--scale", "2", "--q", "0.4,0.6", "--count", "1"
    options += ("--steps", "8", "--probes", "2")  # by default an exact trace, of 256 tangents
    model = "--model", f"diffusers:{saved}", "--prompt", "a cat"
    assert main(["sample", *model, *options, "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    arrays = np.load(tmp_path / "samples.npz")
    assert arrays["x"].shape == (2, 1, 8, 8, 4)
    assert arrays["images"].shape == (2, 1, 16, 16, 3)
    assert arrays["images"].dtype == np.uint8
    assert np.isfinite(arrays["log_density"]).all()
    assert np.ptp(arrays["log_density"]) > 0
    settings = json.loads((tmp_path / "report.json").read_text())["settings"]
    told = {name: settings[name] for name in ("prompt", "negative", "scale")}
    assert told == {"prompt": "a cat", "negative": "blur", "scale": 2.0}
    assert main(["show", str(tmp_path / "grid.png")]) == 0
    assert "--prompt 'a cat' --negative blur --scale 2.0" in capsys.readouterr().out


def test_a_job_draws_what_the_prompt_says(saved, tmp_path, capsys):
    job = tmp_path / "cats.toml"
    job.write_text(
        f'kind = "sample"\nmodel = "diffusers:{saved}"\nprompt = "a cat"\nscale = 2.0\ncount = 2\n'
        'images = true\n[solve]\nsteps = 4\nsolver = "euler"\ndivergence = "none"\n'
        "[output]\nblock = 1\nshard = 2\n"
    )
    out = tmp_path / "out"
    assert main(["run", str(job), "--out", str(out)]) == 0, capsys.readouterr().err
    shard = np.load(next((out / "shards").glob("*.npz")))
    assert shard["images"].shape == (2, 16, 16, 3)
    text = source.Text("a cat", scale=2.0)
    flow = source.load(f"diffusers:{saved}", text=text).flow
    assert isinstance(flow.params, Mixed)
    assert float(flow.params.scale) == 2.0


def test_a_scale_of_one_is_the_prompt_alone_at_one_evaluation(saved):
    one, mixed = (from_diffusers(saved, prompt="a cat", scale=s) for s in (1, 1.0001))
    assert not isinstance(one.params, Mixed)
    x = jax.random.normal(jax.random.key(0), one.shape)
    a, b = (jax.jit(lambda f, x: f.score(x, 0.0))(flow, x) for flow in (one, mixed))
    np.testing.assert_allclose(a, b, atol=1e-3 * float(jnp.abs(a).max()))
    assert float(from_diffusers(saved, prompt="a cat").params.scale) == 5.0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_file_in_half_precision_is_the_function_of_its_float32_copy(saved, tmp_path, kind):
    half = diffusers.UNet2DConditionModel.from_pretrained(saved / "unet").to(kind)
    flows = []
    for name, dtype in (("half", kind), ("full", torch.float32)):
        folder = tmp_path / name
        shutil.copytree(saved, folder)
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        half.to(dtype).save_pretrained(folder / "unet")
        flows.append(from_diffusers(folder, prompt="a cat"))
    for one, other in zip(*map(jax.tree.leaves, flows), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {leaf.dtype for leaf in jax.tree.leaves(flows[0])} <= {np.dtype("f4"), np.dtype("i4")}


def test_a_text_too_long_is_said(saved):
    with pytest.warns(UserWarning, match="the prompt has 22 tokens and the text encoder reads 16"):
        from_diffusers(saved, prompt="cat " * 6 + "at", scale=1)


def broken(saved, tmp_path, name):
    folder = tmp_path / "pipeline"
    shutil.copytree(saved, folder)
    index = json.loads((folder / "model_index.json").read_text())
    if name == "no tokenizer":
        shutil.rmtree(folder / "tokenizer")
    elif name == "no files of the tokenizer":
        for file in (folder / "tokenizer").iterdir():
            file.unlink()
    elif name == "damaged tokenizer":
        (folder / "tokenizer" / "tokenizer.json").write_text("{")
    elif name == "no limit of the tokenizer":
        (folder / "tokenizer" / "tokenizer_config.json").write_text("{}")
    elif name == "no encoder":
        index["text_encoder"] = [None, None]
    elif name == "another encoder":
        index["text_encoder"] = ["os", "system"]
    elif name == "pipeline":
        index["_class_name"] = "MysteryPipeline"
    elif name == "no pipeline":
        (folder / "model_index.json").unlink()
        shutil.copytree(folder / "scheduler", folder / "unet" / "scheduler")
        return folder / "unet"
    elif name == "no blocks":
        (folder / "vae" / "config.json").write_text("{}")
    elif name == "pickled encoder":
        weights = folder / "text_encoder" / "model.safetensors"
        weights.rename(weights.with_name("pytorch_model.bin"))
    elif name == "half an encoder":
        weights = folder / "text_encoder" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:3000])
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no tokenizer", "expected the tokenizer in .*: save the whole pipeline"),
        ("no files of the tokenizer", "expected tokenizer.json or vocab.json or spiece.model in"),
        ("damaged tokenizer", "the tokenizer in .* is damaged"),
        ("no limit of the tokenizer", "tokenizer_config.json in .* names no model_max_length"),
        ("no encoder", "StableDiffusionPipeline in .* has no text encoder: drop the prompt"),
        ("another encoder", "unknown text_encoder 'system' in .*: expected one of CLIPTextModel"),
        ("pipeline", "unknown pipeline class 'MysteryPipeline' in .*expected one of StableDiff"),
        ("no pipeline", "a prompt needs the whole pipeline, there is no model_index.json"),
        ("no blocks", "vae names no block_out_channels: copy it again"),
        ("pickled encoder", "pickled, which can run any code"),
        ("half an encoder", "the weights in .*text_encoder are damaged"),
    ],
)
def test_bad_folders_end_in_one_line(saved, tmp_path, name, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        from_diffusers(broken(saved, tmp_path, name), prompt="a cat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scale": 3.0}, "a scale and a negative prompt belong to a prompt: give one"),
        ({"negative": "blur"}, "a scale and a negative prompt belong to a prompt: give one"),
        ({"prompt": "a cat", "condition": 3}, "give one of the two, prompt or condition"),
        ({"prompt": ["a cat"]}, "a prompt must be one text, got"),
        ({"prompt": "a cat", "scale": np.inf}, "scale must be finite, got inf"),
        ({}, "or prompt= with the text encoders of a pipeline"),
    ],
)
def test_bad_prompts(saved, given, words):
    with pytest.raises(ValueError, match=words) as caught:
        from_diffusers(saved, **given)
    assert "\n" not in str(caught.value)


def test_a_distilled_network_takes_no_negative_prompt_and_even_sizes(tmp_path):
    folder = tiny_pipelines.save(tmp_path, "flux")
    with pytest.raises(
        ValueError, match="is told its scale, and takes no negative prompt: drop it"
    ):
        from_diffusers(folder, prompt="a cat", negative="blur", shape=(8, 8))
    with pytest.raises(ValueError, match=r"patches of 2 x 2: shape must be even, got \(7, 8\)"):
        from_diffusers(folder, prompt="a cat", shape=(7, 8))
    flow = from_diffusers(folder, prompt="a cat", shape=(8, 4), scale=3.5)
    assert float(flow.params.condition["guidance"]) == 3.5
    assert flow.shape == (8, 4, 4)


def test_refused_on_the_command_line(saved, tmp_path, capsys):
    for options, words in (
        (("--model", "digits8", "--prompt", "a cat"), "digits8 takes none: drop them"),
        (("--model", f"diffusers:{saved}", "--scale", "3"), "belong to a prompt"),
    ):
        assert main(["sample", *options, "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err


def test_the_missing_package_is_named(saved, monkeypatch):
    diffusers_load.transformers.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r'a prompt needs .*pip install -e "\.\[diffusers\]"'):
        from_diffusers(saved, prompt="a cat")
