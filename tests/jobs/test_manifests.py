"""What configs/ holds for clusters that are not here: compared with their schemas, offline."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from densityguide.app.cli import app
from densityguide.app.jobs import config
from densityguide.disk import settings

CONFIGS = Path(__file__).parents[2] / "configs"


def documents():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return [*yaml.safe_load_all((CONFIGS / "kubernetes.yaml").read_text())]


def known_options() -> set[str]:
    import typer

    command = typer.main.get_command(app).commands["run"]
    return {name for one in command.params for name in one.opts}


def test_kubernetes_takes_it():
    validate = pytest.importorskip("kubernetes_validate", reason="it is not installed")
    for document in documents():
        validate.validate(document, validate.latest_version(), strict=True)
    wrong = documents()[-1]
    wrong["spec"]["completionMode"] = 3
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, validate.latest_version(), strict=True)


def test_its_parts_fit_each_other():
    service, given, job = documents()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    assert set(told) <= known_options()
    assert int(told["--processes"]) == spec["completions"] == spec["parallelism"]
    name = service["metadata"]["name"]
    assert pod["subdomain"] == name
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert told["--coordinator"].startswith(f"{job['metadata']['name']}-0.{name}:")
    assert pod["volumes"][0]["configMap"]["name"] == given["metadata"]["name"]
    assert Path(container["command"][-1]).name in given["data"]
    (where,) = container["volumeMounts"]
    assert container["command"][-1].startswith(where["mountPath"])


def test_its_job_is_one():
    values = tomllib.loads(documents()[1]["data"]["job.toml"])
    config.check(settings.build(config.KINDS[values.pop("kind")], values))


@pytest.mark.parametrize("script", sorted(CONFIGS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound_and_call_what_there_is(script):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text().replace("\\\n", " ")
    calls = re.findall(r"densityguide run ([^|&;\n]*)", text)
    assert calls
    for call in calls:
        assert set(re.findall(r"--[a-z][a-z-]*", call)) <= known_options()
