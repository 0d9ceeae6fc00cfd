"""Priors, spaces, clocks and units that do not fit, and verbs that a space has no place for."""

import jax.numpy as jnp
import numpy as np
from makers import VP, bare, build, key, world, x

import densityguide as dg

MASK = dg.spaces.masked(np.asarray([True, False]))


def circle(**more):
    options = {"prior": dg.priors.sphere((2,)), "space": dg.spaces.sphere()} | more
    return bare(score=lambda x, t: x, **options)


def box():
    return bare(prior=dg.priors.uniform((2,)), score=lambda x, t: x)


def masked(**more):
    return build(space=MASK, **more)


MISUSES = {
    # priors
    "degrees": (lambda: dg.priors.student((2,), -1.0), "degrees must be positive, got -1"),
    "box": (lambda: dg.priors.uniform((2,), 1.0, 0.0), "a box needs low < high, got 1.0 and 0.0"),
    "mixture": (
        lambda: dg.priors.mixture([1.0, 2.0], jnp.zeros((3, 2))),
        r"weights \[K\], means \[K, .shape\] and scales that broadcast to them, got \(2,\), \(3, 2",
    ),
    "sphere": (lambda: dg.priors.sphere((3, 1)), "a last axis of at least 2, got shape"),
    "sphere-prior": (
        lambda: bare(prior=dg.priors.sphere((2,))),
        r"the sphere prior has no closed form on R\^D .no space=.: normal and student fit linear",
    ),
    "normal-on-sphere": (
        lambda: circle(prior=dg.priors.normal((2,))),
        "the normal prior has no closed form on the sphere space",
    ),
    "box-centred": (
        lambda: bare(prior=dg.priors.uniform((2,)), space=dg.spaces.centred()),
        "the uniform prior has no closed form on the linear space",
    ),
    "box-rescaled": (lambda: dg.rescale(box(), x(), 0.5), "needs an isotropic prior, .* factor="),
    "box-aligned": (lambda: dg.score_alignment(box(), x()), "has score 0.*: pass direction="),
    # spaces
    "space": (lambda: build(space="centred"), "space must come from densityguide.spaces"),
    "space-class": (lambda: build(space=dg.spaces.Sphere), "space must come from densityguide.spa"),
    "space-shape": (
        lambda: build(space=dg.spaces.masked(np.ones(3, bool))),
        r"space must fit samples of shape \(2,\): its mask, axis or period does not",
    ),
    "space-axis": (lambda: build(space=dg.spaces.centred(3)), r"space must fit samples of shape"),
    "space-nothing": (
        lambda: build(space=dg.spaces.centred(mask=np.asarray([True, False]))),
        "space leaves no dimension of shape",
    ),
    "space-path": (
        lambda: build(space=dg.spaces.sphere()),
        "a Gaussian path adds noise in all directions, which leaves a sphere: give its velocity to",
    ),
    "space-world": (lambda: world().replace(space=MASK), "a world lives in all of R.D: take a net"),
    "mask-numbers": (lambda: dg.spaces.masked([1, 0]), "mask must be boolean.*: pass mask > 0"),
    "mask-nothing": (lambda: dg.spaces.masked([False]), "mask must leave an entry, got none"),
    "period": (lambda: dg.spaces.torus(-1.0), "period must be positive, got -1"),
    "sphere-noise": (
        lambda: dg.sample(circle(), x(), noise=dg.noise.constant(0.3), key=key()),
        "noise needs straight directions to stay in, which a sphere has not",
    ),
    "sphere-rescaled": (
        lambda: dg.rescale(circle(), x(), factor=2.0),
        "prior guidance needs latents of all lengths, which a sphere has not",
    ),
    "sphere-landed": (
        lambda: dg.land(circle(), x(), -2.0, along=dg.along.scale()),
        "moving a latent needs straight lines, which a sphere has not",
    ),
    "verify-space": (
        lambda: dg.verify(masked(), key()),
        "verify is about flows in all of R.D, got",
    ),
    "track-space": (
        lambda: dg.track_sde(masked(), x(), key(), drift=None, diffusion=None),
        "track_sde is about flows in all of R.D, got one on a linear space: build it without",
    ),
    # clocks and grids
    "sigmas": (lambda: dg.clocks.sigmas([1.0, 0.1, 0.0]), "a list of positive noise levels"),
    "sigmas-order": (lambda: dg.clocks.sigmas([1.0, 0.1, 0.5]), "that rises or falls: leave a las"),
    "scaled": (lambda: dg.clocks.scaled(dg.clocks.flow_time, 0.0), "a number that is not 0, got"),
    "sde-time": (lambda: dg.clocks.sde_time(VP, 20.0, 0.1), "betas must rise from above 0, got 20"),
    "shift": (lambda: dg.grids.shifted(-1.0), "shift must be positive, got -1"),
    "no-learned-variance": (
        lambda: build(learned_variance=True),
        r"twice the channels of its input \(2,\) with learned_variance=True, got \(2,\): leave",
    ),
    # units
    "units": (lambda: build(standardise=2.0), r"standardise must be a pair \(mean, std\)"),
    "units-shape": (
        lambda: build(standardise=(jnp.zeros(3), 1.0)),
        r"standardise must broadcast to one sample of shape \(2,\), got mean \(3,\) and std \(\)",
    ),
    "units-zero": (
        lambda: build(standardise=(0.0, jnp.asarray([1.0, 0.0]))),
        "standardise needs std > 0 everywhere, .*: leave constant entries out by",
    ),
    "units-centred": (
        lambda: build(space=dg.spaces.centred(), standardise=(0.0, jnp.asarray([1.0, 2.0]))),
        "standardise scales entries apart that a linear space ties together: pass one std",
    ),
    "units-spacetime": (
        lambda: dg.spacetime.point(build(path=VP, standardise=(0.0, 2.0)), x(), 0.0),
        r"is in the network's own units: take flow.replace\(standardise=None\)",
    ),
}
