"""Gaussian paths in the log-SNR clock.

A path noises data as ``x = alpha x0 + sigma eps`` with ``log_snr = log(alpha^2 / sigma^2)``,
which increases from noise to data. In this clock every path has the same diffusion,
``g^2 = sigma^2``, and paths differ only in how they scale ``x``:

=====================  ==========================  ===========================  ===========
path                   alpha                       sigma                        drift
=====================  ==========================  ===========================  ===========
variance preserving    sqrt(sigmoid(log_snr))      sqrt(sigmoid(-log_snr))      sigma^2 / 2
variance exploding     1                           exp(-log_snr / 2)            0
linear                 sigmoid(log_snr / 2)        sigmoid(-log_snr / 2)        sigma / 2
conditional OT         r / (1 + k r)               1 / (1 + k r)                sigma / 2
sub-VP                 exp(-asinh(1 / (2 r)))      1 - alpha^2                  see below
=====================  ==========================  ===========================  ===========

with ``r = exp(log_snr / 2)``, ``k = 1 - sigma_min`` and the drift ``sigma / (2 + 2 alpha^2)`` of
sub-VP; `custom` takes any other pair.

Probability-flow velocity: ``u = drift * x + sigma^2 / 2 * score`` (Song et al., ICLR 2021, in
the log-SNR clock of Kingma et al., NeurIPS 2021).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import number, require

__all__ = ["Path", "check", "conditional_ot", "custom", "linear"]
__all__ += ["sub_variance_preserving", "variance_exploding", "variance_preserving"]

_LEVELS = np.linspace(-9.0, 9.0, 7)  # levels of log-SNR at which a path is checked


@dataclass(frozen=True)
class Path:
    """A Gaussian path: two functions of the log-SNR. Compared and hashed by value.

    ``log_alpha`` and ``log_sigma`` map a scalar (or array) log-SNR to the logarithms of the
    signal and noise scales; logarithms keep both ends exact in float32. ``greatest`` is the
    log-SNR at which the path ends, infinity for most.
    """

    name: str
    log_alpha: Callable[[Array], Array]
    log_sigma: Callable[[Array], Array]
    greatest: float = inf

    def alpha(self, log_snr: ArrayLike) -> Array:
        """Signal scale."""
        return jnp.exp(self.log_alpha(jnp.asarray(log_snr)))

    def sigma(self, log_snr: ArrayLike) -> Array:
        """Noise scale; ``sigma^2`` is also the squared diffusion per unit log-SNR."""
        return jnp.exp(self.log_sigma(jnp.asarray(log_snr)))

    def drift(self, log_snr: ArrayLike) -> Array:
        """``d log(alpha) / d log_snr``, the linear part of the velocity."""
        log_snr = jnp.asarray(log_snr)
        return jax.jvp(self.log_alpha, (log_snr,), (jnp.ones_like(log_snr),))[1]

    @property
    def preserves_variance(self) -> bool:
        """Whether ``alpha^2 + sigma^2 = 1``, which v-prediction takes for granted."""
        log_alpha, log_sigma = _seen(self)
        return bool(np.allclose(np.exp(2.0 * log_alpha) + np.exp(2.0 * log_sigma), 1.0, atol=1e-5))

    @property
    def keeps_signal(self) -> bool:
        """Whether ``alpha = 1``, which EDM's preconditioning takes for granted."""
        return bool(np.allclose(_seen(self)[0], 0.0, atol=1e-5))


@functools.lru_cache(maxsize=256)
def _seen(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """log alpha and log sigma at a few levels, concrete even while a program is traced."""
    with jax.ensure_compile_time_eval():
        levels = jnp.asarray(_LEVELS[path.greatest >= _LEVELS])
        values = (path.log_alpha(levels), path.log_sigma(levels))
        return np.asarray(values[0], np.float64), np.asarray(values[1], np.float64)


def check(path: Any) -> Path:
    """``path`` itself; ValueError unless it is a path whose clock is the log-SNR."""
    if not isinstance(path, Path):
        raise ValueError(f"path must be a path, got {_shown(path)}: {_meant(path)}")
    try:
        log_alpha, log_sigma = _seen(path)
        apart = 2.0 * (log_alpha - log_sigma) - _LEVELS[path.greatest >= _LEVELS]
        off = float(np.max(np.abs(apart)))
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"path {path.name} failed at an array of log-SNR ({line}): log_alpha and log_sigma "
            "must be functions of log-SNR in jax.numpy that can be hashed"
        ) from error
    require(
        off < 1e-3,
        f"path {path.name} must have log_snr = 2 (log_alpha - log_sigma), it is off by {off:.3g}: "
        "write both as functions of the log-SNR, not of a time",
    )
    return path


def _shown(path: Any) -> str:
    return f"the function {path.__name__}" if callable(path) and path in _MAKERS else repr(path)


def _meant(path: Any) -> str:
    if callable(path):
        named = path if path in _MAKERS else variance_preserving
        return f"call one, e.g. path=densityguide.paths.{named.__name__}()"
    known = _SPOKEN.get(str(path).lower().replace("-", "_").replace(" ", "_"))
    if known is not None:
        return f"did you mean densityguide.paths.{known.__name__}()?"
    return "pass densityguide.paths.variance_preserving(), variance_exploding() or linear()"


def _vp_log_alpha(log_snr: Array) -> Array:
    return 0.5 * jax.nn.log_sigmoid(log_snr)


def _vp_log_sigma(log_snr: Array) -> Array:
    return 0.5 * jax.nn.log_sigmoid(-log_snr)


def _ve_log_alpha(log_snr: Array) -> Array:
    return 0.0 * log_snr


def _ve_log_sigma(log_snr: Array) -> Array:
    return -0.5 * log_snr


def _linear_log_alpha(log_snr: Array) -> Array:
    return jax.nn.log_sigmoid(0.5 * log_snr)


def _linear_log_sigma(log_snr: Array) -> Array:
    return jax.nn.log_sigmoid(-0.5 * log_snr)


def _sub_log_alpha(log_snr: Array) -> Array:
    # 1 - alpha^2 = alpha exp(-log_snr / 2), solved for alpha.
    return -jnp.arcsinh(0.5 * jnp.exp(-0.5 * log_snr))


def _sub_log_sigma(log_snr: Array) -> Array:
    return jnp.log(-jnp.expm1(2.0 * _sub_log_alpha(log_snr)))


@dataclass(frozen=True)
class _OtLogAlpha:
    sigma_min: float

    def __call__(self, log_snr: Array) -> Array:
        # Not log_snr / 2 + log sigma, which cancel at the data end.
        return -jnp.logaddexp(-0.5 * log_snr, jnp.log1p(-self.sigma_min))


@dataclass(frozen=True)
class _OtLogSigma:
    sigma_min: float

    def __call__(self, log_snr: Array) -> Array:
        return -jax.nn.softplus(0.5 * log_snr + jnp.log1p(-self.sigma_min))


def variance_preserving() -> Path:
    """``alpha^2 + sigma^2 = 1``: DDPM, improved and cosine diffusion (Ho et al. 2020)."""
    return Path("variance_preserving", _vp_log_alpha, _vp_log_sigma)


def variance_exploding() -> Path:
    """``alpha = 1``: NCSN and EDM (Karras et al. 2022)."""
    return Path("variance_exploding", _ve_log_alpha, _ve_log_sigma)


def sub_variance_preserving() -> Path:
    """``sigma = 1 - alpha^2``: the sub-VP SDE (Song et al., ICLR 2021, Eq. 29), whose variance is
    the square of the variance preserving one. The networks' own time is
    ``densityguide.clocks.sde_time(path)``."""
    return Path("sub_variance_preserving", _sub_log_alpha, _sub_log_sigma)


def linear() -> Path:
    """``alpha + sigma = 1``: rectified flow and optimal-transport flow matching."""
    return Path("linear", _linear_log_alpha, _linear_log_sigma)


def conditional_ot(sigma_min: float) -> Path:
    """``x = t x1 + (1 - (1 - sigma_min) t) x0``: conditional optimal-transport flow matching
    (Lipman et al., ICLR 2023, Eq. 22), data at t = 1 with noise ``sigma_min`` left on them.

    ``alpha = t`` and ``sigma = 1 - (1 - sigma_min) t``, so the log-SNR ends at
    ``-2 log(sigma_min)``: the range of a flow may not go beyond it. The network's own time is
    ``densityguide.clocks.conditional_ot_time(sigma_min)``. ``sigma_min = 0`` is `linear`, which is
    a poor stand-in for a positive one: at sigma_min = 0.1 and t = 0.88 its score is 1.7 times too
    large.

    Raises:
        ValueError: a number outside [0, 1).
    """
    known = number(sigma_min, "sigma_min")
    fine = known.ndim == 0 and bool((known >= 0.0) & (known < 1.0))
    require(fine, f"sigma_min must be a number in [0, 1), got {sigma_min}")
    least = float(sigma_min)
    greatest = -2.0 * log(least) if least else inf
    return Path("conditional_ot", _OtLogAlpha(least), _OtLogSigma(least), greatest)


def custom(
    log_alpha: Callable[[Array], Array],
    log_sigma: Callable[[Array], Array],
    *,
    name: str = "custom",
    greatest: float = inf,
) -> Path:
    """A path of your own: the logarithms of alpha and sigma as functions of the log-SNR.

    With a schedule given in a time t, write t as a function of the log-SNR first; e.g. for
    ``alpha = cos(pi t / 2), sigma = sin(pi t / 2)``: ``t = 2 / pi arctan(exp(-log_snr / 2))``.

    Args:
        log_alpha: array of log-SNR to log(alpha), in ``jax.numpy``; equal functions share compiled
            programs, so hand over the same function each time.
        log_sigma: the same for log(sigma), with ``log_snr = 2 (log_alpha - log_sigma)``.
        name: for messages.
        greatest: log-SNR at which the path ends.

    Raises:
        ValueError: functions that do not give the log-SNR, or cannot be called on an array of it.
    """
    return check(Path(name, log_alpha, log_sigma, float(greatest)))


_MAKERS: tuple[Any, ...] = (
    variance_preserving,
    sub_variance_preserving,
    variance_exploding,
    linear,
    conditional_ot,
    custom,
)
# Other names that people use.
_SPOKEN: dict[str, Callable[[], Path]] = {
    **dict.fromkeys(("vp", "variance_preserving", "ddpm", "cosine"), variance_preserving),
    **dict.fromkeys(("sub_vp", "subvp"), sub_variance_preserving),
    **dict.fromkeys(("ve", "variance_exploding", "edm", "ncsn", "karras"), variance_exploding),
    **dict.fromkeys(("linear", "ot", "flow", "flow_matching", "rectified"), linear),
    **dict.fromkeys(("rectified_flow", "fm"), linear),
}
