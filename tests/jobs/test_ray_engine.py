"""The engine's own laws, with something in place of Ray: what is asked of it, and what comes back
when workers are slow, fail, or are lost."""

import itertools
import signal
import sys
from types import SimpleNamespace

import finished
import pytest
from outputs import contents

from densityguide.app import jobs
from densityguide.app.commands.run import engine_named
from densityguide.app.jobs import ray_tasks, worker
from densityguide.app.jobs.engines import Done
from densityguide.disk.interrupts import Preempted, Stop
from densityguide.disk.storage import StorageError, folder


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        self.cause = cause


class Ray:
    """Tasks end in the order of ``ends(number, copy)``; None is never."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, ends, outcome=None):
        self.ends, self.outcome = ends, outcome
        self.begun, self.most, self.now = [], 0, 0.0

    def begin(self, number):
        copy = self.begun.count(number)
        self.begun.append(number)
        return number, copy

    def wait(self, references, num_returns, timeout):
        self.most = max(self.most, len(references))
        self.now += timeout
        ready = [one for one in references if self.ends(*one) is not None]
        ready.sort(key=lambda one: self.ends(*one))
        return ready[:1], ready[1:]

    def get(self, reference):
        if self.outcome is not None:
            raise self.outcome
        return Done({"shard": reference[0], "copy": reference[1]}, {}, 2.0)


def each(ray, count, slots=4, stop=None, monkeypatch=None):
    if monkeypatch is not None:
        monkeypatch.setattr(ray_tasks.time, "monotonic", lambda: ray.now)
    return ray_tasks._each(
        ray, ray.begin, range(count), lambda: slots, Stop() if stop is None else stop
    )


def test_every_shard_is_asked_for_and_given_once_as_it_comes(monkeypatch):
    monkeypatch.setattr(ray_tasks, "AT_ONCE", 3)
    ray = Ray(lambda number, copy: -number)
    got = [done.record["shard"] for done in each(ray, 10)]
    assert sorted(got) == ray.begun == [*range(10)]
    assert got[0] == 2  # the last of the first three, and so on
    assert ray.most == 3


def test_a_straggler_is_given_to_a_second_once_all_have_workers(monkeypatch):
    ray = Ray(lambda number, copy: None if (number, copy) == (5, 0) else number)
    got = [
        (done.record["shard"], done.record["copy"]) for done in each(ray, 8, 4, None, monkeypatch)
    ]
    assert sorted(got) == [(n, int(n == 5)) for n in range(8)]
    assert ray.begun == [*range(8), 5]
    assert ray.now > ray_tasks.LEAST  # and not before


def test_a_straggler_has_so_many_copies_and_no_more(monkeypatch):
    ray = Ray(lambda number, copy: None if number == 1 else number)
    results = each(ray, 2, 4, None, monkeypatch)
    assert next(results).record["shard"] == 0
    stop = Stop()
    ray.outcome = None
    results = each(ray, 2, 4, stop, monkeypatch)
    next(results)
    before = ray.begun.count(1)

    def late(references, num_returns, timeout):
        ray.now += timeout
        if ray.now > 500.0:
            stop.signal = signal.SIGTERM
        return [], references

    ray.wait = late
    with pytest.raises(Preempted):
        next(results)
    assert ray.begun.count(1) - before == ray_tasks.COPIES - 1


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (RayTaskError(ValueError("the model on a is another")), ValueError, "^the model on a"),
        (RayTaskError(FileNotFoundError("no model")), ValueError, "^no model$"),
        (RayTaskError(StorageError("cannot write x")), StorageError, "^cannot write x$"),
        (RayError("out of\nmemory"), ValueError, r"shard 0 ended 21 times \(out of memory\): give"),
        (RayTaskError(ZeroDivisionError()), RayTaskError, None),
    ],
)
def test_what_a_worker_says_is_said_here(outcome, kind, message):
    with pytest.raises(kind, match=message):
        next(each(Ray(lambda number, copy: 0, outcome), 3))


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_ends_it(number, kind):
    stop = Stop()
    stop.signal = number
    with pytest.raises(kind):
        next(each(Ray(lambda number, copy: 0), 3, stop=stop))


def test_nothing_to_do_needs_no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert [*jobs.on_ray()(folder("memory://x"), [])] == []


def test_without_ray_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ValueError, match=r'which is not installed: run pip install "densityguide\['
    ):
        next(jobs.on_ray()(folder("memory://x"), [0]))
    with pytest.raises(ValueError, match="the engine ray needs the package ray"):
        engine_named("ray", None, None, None)  # before any folder is made


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "auto"])
def test_no_cluster_is_one_line(monkeypatch, address):
    def init(address, **options):
        raise ConnectionError("Could not find any\nrunning Ray instance")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(ValueError, match=f"^no Ray cluster at {address} .*: start one") as told:
        next(jobs.on_ray(address)(folder("memory://x"), [0]))
    assert "\n" not in str(told.value)


MACHINES = [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"GPU": 8.0}}]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0.0, None), "at least 0, not both 0, got 0 and 0"),
        ((-1.0, 2.0), "at least 0, not both 0, got -1 and 2"),
        ((8.0, None), "no machine of the cluster has the 8 CPUs and 0 GPUs"),
        ((1.0, 1.0), "no machine of the cluster has the 1 CPUs and 1 GPUs"),
    ],
)
def test_a_worker_that_fits_nowhere_is_refused(asked, message):
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 4.0}, nodes=lambda: MACHINES)
    with pytest.raises(ValueError, match=message):
        ray_tasks._share(ray, *asked)


def test_workers_take_a_gpu_where_there_are_any():
    has = {"CPU": 16.0, "GPU": 4.0}
    nodes = [{"Alive": True, "Resources": has}]
    ray = SimpleNamespace(cluster_resources=lambda: has, nodes=lambda: nodes)
    share = ray_tasks._share(ray, 2.0, None)
    assert share == {"num_cpus": 2.0, "num_gpus": 1.0}
    assert ray_tasks._slots(ray, share) == 4.0
    assert ray_tasks._slots(ray, ray_tasks._share(ray, 2.0, 0.0)) == 8.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("dask", None, None, None), "expected --engine local or ray, got 'dask'"),
        ((None, "auto", None, None), "beside --engine ray alone"),
        (("local", None, 2.0, None), "beside --engine ray alone"),
    ],
)
def test_engines_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        engine_named(*given)
    assert engine_named("local", None, None, None) is None


def test_an_engine_is_alone(tmp_path):
    job = jobs.Sampling("world:gaussian", 4)
    both = {"here": jobs.Hosts(0, 2), "engine": lambda path, numbers: itertools.repeat(None)}
    with pytest.raises(ValueError, match="its workers take the place of --distributed"):
        jobs.run(job, tmp_path / "out", **both)


@pytest.fixture
def unsettled(monkeypatch):
    """A worker's first act is for a process of its own: this one stays as it is."""
    monkeypatch.setattr(worker, "_settle", lambda directory: None)


def test_a_worker_that_does_not_see_the_folder_says_so(unsettled, tmp_path):
    with pytest.raises(ValueError, match=r"does not find the job in .*nowhere: give an --out that"):
        worker.compute(str(tmp_path / "nowhere"), ".", 0)


@pytest.mark.slow
def test_a_worker_with_another_model_refuses(unsettled, tmp_path):
    job = finished.sampling()
    place = finished.write(tmp_path, job, finished.stored(18), until=1, facts={"model": "other"})
    with pytest.raises(ValueError, match=r"^the model on .* is another than where the job was beg"):
        worker.compute(str(place), ".", 1)


@pytest.mark.slow
def test_shards_in_any_order_and_twice_are_the_bytes_of_one_process(unsettled, tmp_path):
    job = finished.sampling(solve=jobs.Solve(steps=4))
    told = []

    def engine(path, numbers):
        for number in [*numbers, *reversed(numbers)]:
            done = worker.compute(str(path), ".", number)
            if len(told) < len(numbers):
                told.append(number)
                yield done

    assert jobs.run(job, tmp_path / "one") == jobs.run(job, tmp_path / "two", engine=engine)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert told == [*range(5)]
