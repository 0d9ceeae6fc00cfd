"""The smallest run that exercises everything a trainer does."""

from densityguide.training import from_dict

TINY = from_dict(
    {
        "name": "tiny",
        "data": "digits8",
        "preview": 0,
        "model": {"kind": "mlp", "fields": {"width": 16, "depth": 1, "embedding": 16}},
        "loss": {"adapt": 0.5},
        "optimiser": {"steps": 6, "batch": 8, "warmup": 2, "decay": 3},
        "checkpoint_steps": 2,
        "log_steps": 2,
    }
)
