"""Jobs on a real cluster of Ray: several nodes on this machine, killed and added meanwhile."""

import json
import signal
import time

import pytest
from outputs import contents

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster(environment):
    """A head without CPUs, so that work is on the nodes that tests add."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_worker_niceness", "0")
    for name in ("PYTHONPATH", "XDG_CACHE_HOME"):
        patch.setenv(name, environment[name])
    head = NODE | {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()
    patch.undo()


# Shards of half a second, so that there is a middle of the job to kill nodes in.
LONGER = ("--set", "solve.steps=3000", "--set", "count=480")


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    """What one process leaves of the longer job."""
    out = tmp_path_factory.mktemp("alone") / "out"
    process = start(out, *LONGER)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return contents(out)


def shards(out) -> int:
    return len(list(out.glob("shards/*.json")))


def until(process, out, count):
    while shards(out) < count and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


def test_stopped_then_nodes_killed_and_added(cluster, start, alone, tmp_path):
    """SIGTERM ends it with its status. Started again, a node is killed with its worker at work,
    another joins, and the last of the first two is killed: the bytes are those of one process, and
    every shard that was left is told once."""
    out = tmp_path / "out"
    by_ray = (*LONGER, "--engine", "ray", "--address", cluster.address)
    first, second = cluster.add_node(**NODE), cluster.add_node(**NODE)
    process = start(out, *by_ray)
    until(process, out, 2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert errors.endswith("stopped by SIGTERM: the same command goes on from here\n")
    had = shards(out)
    assert 2 <= had < 40
    process = start(out, *by_ray)
    until(process, out, had + 2)
    cluster.remove_node(first, allow_graceful=False)
    third = cluster.add_node(**NODE)
    until(process, out, shards(out) + 5)
    cluster.remove_node(second, allow_graceful=False)
    assert shards(out) < 60  # or nothing was shown
    told, errors = process.communicate()
    cluster.remove_node(third)
    assert process.returncode == 0, errors
    assert contents(out) == alone
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert len({line["shard"] for line in lines}) == len(lines)
    assert [line["done"] for line in lines] == [16 * n for n in range(61 - len(lines), 61)]
