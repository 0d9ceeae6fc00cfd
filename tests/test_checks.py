"""The checks of use themselves: what `verb` adds to a function, and what it leaves alone."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import pytest

from densityguide.checks import nearest, verb

X64 = False


def plain(flow, x, *, steps=None, guidance=None):
    """The equation."""
    return jnp.sin(x) if steps is None else x * steps


wrapped = verb(plain)


@verb
def pickled(x, *, steps=2):
    return x * steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidence": 1}, "plain has no option 'guidence': did you mean 'guidance'?"),
        ({"step": 8}, "plain has no option 'step': did you mean 'steps'?"),
        ({"zzz": 8}, "plain has no option 'zzz': choose one of steps, guidance"),
        ({"cap": 8.0}, "'cap': it belongs to the guidance: densityguide.quantile(q, cap=...)"),
        ({"gain": 8.0}, "'gain': it belongs to the guidance: densityguide.target(log_p, gain="),
    ],
)
def test_an_unknown_option_is_one_line(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        wrapped(None, 1.0, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_its_own_are_not_sent_elsewhere():
    @verb
    def rule(q, *, cap=4.0):
        return q * cap

    assert rule(0.5, cap=2.0) == 1.0
    with pytest.raises(ValueError, match="rule has no option 'cop': did you mean 'cap'"):
        rule(0.5, cop=2.0)


def test_a_function_that_takes_every_keyword_is_left_alone():
    assert verb(lambda **given: given)(anything=1) == {"anything": 1}


def test_nothing_else_changes():
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert (wrapped.__name__, wrapped.__doc__) == ("plain", "The equation.")
    assert wrapped.__wrapped__ is plain
    assert pickle.loads(pickle.dumps(pickled))(3) == 6
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        wrapped(None)


def test_nothing_is_added_to_what_is_traced():
    x = jnp.ones(3)
    programs = [jax.make_jaxpr(lambda x, f=f: f(None, x, steps=3))(x) for f in (plain, wrapped)]
    assert str(programs[0]) == str(programs[1])
    count = []

    @jax.jit
    @verb
    def counted(x, *, scale=1.0):
        count.append(1)
        return x * scale

    counted(x, scale=2.0), counted(x, scale=3.0)
    assert len(count) == 1


def test_nearest_names_one_or_all():
    assert nearest("stesp", ["steps", "grid"]) == "did you mean 'steps'?"
    assert nearest("q", ["steps", "grid"]) == "choose one of steps, grid"
