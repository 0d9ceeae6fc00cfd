"""A module of PyTorch is handed in as it is: the flow of its formula, or one line that helps."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.flow import torch_modules

torch = pytest.importorskip("torch")
pytest.importorskip("torchax")
nn = torch.nn

VP = {"path": dg.paths.variance_preserving(), "prediction": "noise"}


class Points(nn.Module):
    """[N, 4] and times [N]; dropout and a batch's statistics are off in evaluation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 4)
        self.norm, self.dropout = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, x, t):
        hidden = self.first(torch.cat([x, 0.1 * t[:, None]], dim=1))
        return self.second(self.dropout(nn.functional.silu(self.norm(hidden))))


class Pictures(nn.Module):
    """[N, 1, 8, 8] and times [N], with a tensor made on the way and another changed in place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.into, self.out = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x, t):
        frequencies = torch.exp(-torch.arange(6, dtype=torch.float32))
        hidden = self.into(x) + torch.sin(t[:, None] * frequencies)[:, :, None, None]
        hidden *= 0.5
        return self.out(nn.functional.silu(hidden))


class Table(Points):
    """Times are looked up."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 1)

    def forward(self, x, t):
        return super().forward(x, self.table(t)[:, 0])


def made(module, shape, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.diffusion(module, shape=shape, **(VP | options))


@pytest.mark.parametrize(("kind", "shape"), [(Points, (4,)), (Pictures, (8, 8, 1))])
def test_the_flow_predicts_what_the_module_does(kind, shape):
    module = kind()
    with pytest.warns(UserWarning, match="the network takes batched=True, channels_first=") as seen:
        flow = dg.diffusion(module, shape=shape, **VP)
    assert seen[0].filename == __file__
    x, level = jax.random.normal(jax.random.key(0), shape), 1.3
    given = np.asarray(x)[None] if len(shape) == 1 else np.moveaxis(np.asarray(x), -1, 0)[None]
    with torch.no_grad():
        noise = module.eval()(torch.tensor(given), torch.tensor([level]))[0].numpy()
    noise = noise if len(shape) == 1 else np.moveaxis(noise, 0, -1)
    sigma = float(flow.path.sigma(level))
    np.testing.assert_allclose(flow.score(x, level), -noise / sigma, rtol=2e-4, atol=2e-5)


def test_the_users_module_is_left_alone_and_other_weights_compile_nothing():
    module = Points()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flow = made(module, (4,))
    traces = []

    @jax.jit
    def log_p(flow, x):
        traces.append(1)
        return dg.log_density(flow, x, steps=16).value

    x = jnp.ones(4)
    first = log_p(flow, x)
    other = flow.params | {"first.weight": 0.5 * flow.params["first.weight"]}
    second = log_p(flow.replace(params=other), x)
    assert len(traces) == 1
    assert abs(float(first - second)) > 1e-3
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_cnf_takes_a_module_as_its_velocity():
    options = {"prior": dg.priors.normal((4,)), "interval": (0.0, 1.0), "shape": (4,)}
    with pytest.warns(UserWarning, match="batched=True"):
        flow = dg.cnf(Points(), **options)
    out = dg.sample(flow, dg.latent(flow, jax.random.key(0)), steps=16)
    again = dg.log_density(flow, out.x, steps=16)
    np.testing.assert_allclose(out.log_density, again.value, atol=1e-2)


def test_times_of_a_table_are_whole_and_between_them_runs_a_line():
    module = Table()
    with pytest.warns(UserWarning, match="integer_times=True"):
        flow = dg.diffusion(module, shape=(4,), clock=dg.clocks.ddpm(), **VP)
    x = jnp.linspace(-1.0, 1.0, 4)
    steps = dg.clocks.ddpm_log_snr()

    def noise(index):
        with torch.no_grad():
            found = module.eval()(torch.tensor(np.asarray(x))[None], torch.tensor([index]))
        return found[0].numpy()

    level = jnp.float32(0.75 * steps[400] + 0.25 * steps[401])
    index = float(flow.field.clock(level))
    share = index - 400
    expected = (1 - share) * noise(400) + share * noise(401)
    found = -flow.score(x, level) * flow.path.sigma(level)
    assert 0.2 < share < 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_layout_that_is_said_is_not_guessed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = {"batched": True, "channels_first": True, "integer_times": False}
        dg.diffusion(Pictures(), shape=(8, 8, 1), **VP, **said)


class Item(Points):
    def forward(self, x, t):
        return super().forward(x, t) * (1.0 if t.mean().item() > 0 else 2.0)


class Decision(Points):
    def forward(self, x, t):
        return super().forward(x, t) if t.sum() > 0 else x


class Legacy(Points):
    def forward(self, x, t):
        return super().forward(x, t) * torch.Tensor([2.0])


class Numpy(Points):
    def forward(self, x, t):
        return super().forward(x, t) * torch.tensor(np.sin(t.numpy()))[:, None]


class Broken(Points):
    def forward(self, x, t):
        raise RuntimeError("a fault of its own")


class Random(Points):
    def forward(self, x, t):
        return super().forward(x, t) + torch.randn_like(x)


class Keeps(Points):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x, t):
        return self.known.setdefault("x", x) + super().forward(x, t)


class Differentiates(Points):
    def forward(self, x, t):
        x = x.requires_grad_(True)
        return torch.autograd.grad(super().forward(x, t).sum(), x)[0]


class Parametrized(Points):
    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.first)


class Normed(Points):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.weight_norm(self.first)


class Named(Points):
    def forward(self, x, t):
        return {"sample": super().forward(x, t)}


class Classed(Points):
    def forward(self, x, t, y):
        return super().forward(x, t) * y


class Whole(Table):
    """Makes whole numbers of its times itself, so that nothing fails at others."""

    def forward(self, x, t):
        return super().forward(x, t.long())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Item, "makes a Python number or a decision of a tensor"),
        (Decision, "makes a Python number or a decision of a tensor"),
        (Numpy, "leaves torch for NumPy"),
        (Broken, "a fault of its own"),
        (Random, "draws random numbers"),
        (Keeps, "keeps a tensor from one call to the next"),
        (Differentiates, "torch.autograd.grad"),
        (Parametrized, "take them off by torch.nn.utils.parametrize.remove_parametrizations"),
        (Normed, "take that off by remove_weight_norm"),
        (Classed, "takes more than x and t: pass the rest as condition="),
        (Named, r"got dict: return the prediction alone"),
    ],
)
def test_stumbling_stones_are_one_line(kind, words):
    said = {"batched": True, "channels_first": False, "integer_times": False}
    for options in ({}, said):
        with pytest.raises(ValueError, match=words) as caught:
            made(kind(), (4,), **options)
        assert "\n" not in str(caught.value)


KEPT = [torch.ones(1), torch.full((1,), 2.0)]
TWOS = {
    "the old way": lambda: torch.Tensor([2.0]),
    "of a list": lambda: torch.tensor([2.0] * 4),
    "of an array": lambda: torch.tensor(np.full(4, 2.0, np.float32)),
    "from numpy": lambda: torch.from_numpy(np.full(4, 2.0, np.float32)),
    "of a kind": lambda: torch.FloatTensor([2.0]),
    "kept elsewhere": lambda: KEPT[1],
}


@pytest.mark.parametrize("name", TWOS)
def test_tensors_made_on_the_way_are_followed(name):
    class Twice(Points):
        def forward(self, x, t):
            return super().forward(x, t) * TWOS[name]()

    twice, once = (made(kind(), (4,)).score(jnp.ones(4), 0.0) for kind in (Twice, Points))
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-4)


def test_a_module_that_rounds_its_times_gets_a_line_between_them():
    with pytest.warns(UserWarning, match="integer_times=True"):
        flow = dg.diffusion(Whole(), shape=(4,), clock=dg.clocks.ddpm(), **VP)
    table = made(Table(), (4,), clock=dg.clocks.ddpm())
    x = jnp.linspace(-1.0, 1.0, 4)
    for level in (-3.0, 0.3):
        np.testing.assert_allclose(flow.score(x, level), table.score(x, level), rtol=1e-5)
    said = made(Whole(), (4,), clock=dg.clocks.ddpm(), integer_times=False)
    assert float(jnp.abs(said.score(x, 0.3) - table.score(x, 0.3)).max()) > 1e-4


def test_without_torchax_the_extra_is_named(hide):
    torch_modules.engine.cache_clear()
    hide("torchax")
    with pytest.raises(
        ValueError, match=r'through torchax.*pip install -e "\.\[torch\]"'
    ) as caught:
        made(Points(), (4,))
    assert "\n" not in str(caught.value)


def test_weights_beside_the_modules_own_are_refused():
    with pytest.raises(ValueError, match="leave params= out"):
        made(Points(), (4,), params=jnp.ones(3))


class Rows(nn.Module):
    """Times from 0 to 1, of which it makes rows of a table itself."""

    def forward(self, x, t):
        return x * torch.arange(1000)[(t * 999).long()][:, None]


def test_times_that_a_network_scales_itself_are_not_taken_for_rows():
    options = {"path": dg.paths.linear(), "prediction": "velocity", "clock": dg.clocks.flow_time}
    with pytest.raises(ValueError, match="if it scales its time itself, pass integer_times=False"):
        dg.diffusion(Rows(), shape=(2,), **options)
    flow = made(Rows(), (2,), integer_times=False, **options)
    np.testing.assert_allclose(flow.velocity(jnp.ones(2), 0.0), flow.velocity(jnp.ones(2), 1e-4))
    prior = dg.priors.normal((2,))
    with pytest.raises(ValueError, match="if it scales its time itself"):
        dg.cnf(Rows(), prior=prior, interval=(0.0, 1.0), shape=(2,))


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(3, 3, 3, padding=1)

    def forward(self, x, t):
        return self.c(x)


def test_channels_come_first_in_series_too():
    module = Series()
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.tensor(x.T)[None], torch.zeros(1))[0].numpy().T
    for said in ({}, {"channels_first": True}):
        flow = made(module, (8, 3), **said)
        found = -flow.score(jnp.asarray(x), 0.0) * flow.path.sigma(0.0)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"at least two axes, got \(4,\): leave it out"):
        made(Points(), (4,), channels_first=True)
