"""Model card: everything needed to use a network and to judge it, as JSON beside its weights."""

from __future__ import annotations

import dataclasses
import json
import operator
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Card", "read", "write"]

PATHS = ("variance_preserving", "variance_exploding", "linear")


@dataclass(frozen=True)
class Card:
    """`network` = {"kind": ..., "fields": {...}}; `transform` = {"levels": L}, y = 2 (x+u) / L - 1;
    L = 0 is data without levels, taken as it is.

    `evaluation` holds held-out losses by noise level and nearest-neighbour figures.
    """

    name: str
    description: str
    network: dict[str, Any]
    parameters: int
    shape: tuple[int, ...]
    path: str
    prediction: str
    log_snr: tuple[float, float]
    transform: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    storage: str
    sha256: str
    evaluation: dict[str, Any] = field(default_factory=dict)


def write(path: str | os.PathLike[str], card: Card) -> None:
    """Write the card as JSON, replacing the file in one step."""
    temporary = Path(f"{path}.part")
    temporary.write_text(json.dumps(dataclasses.asdict(card), indent=1) + "\n")
    temporary.replace(path)


def read(path: str | os.PathLike[str]) -> Card:
    """The card in a JSON file; FileNotFoundError without one, ValueError for a damaged one."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a model card, {path} does not exist")
    try:
        values = json.loads(path.read_text())
        values["shape"] = tuple(operator.index(n) for n in values["shape"])
        values["log_snr"] = tuple(float(end) for end in values["log_snr"])
        card = Card(**values)
        operator.index(card.transform["levels"])
        if card.path not in PATHS:
            raise ValueError(f"unknown path {card.path!r}")
        if not (isinstance(card.network["kind"], str) and isinstance(card.network["fields"], dict)):
            raise TypeError("network needs a kind and fields")
        return card
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a model card in {path}, it is damaged ({reason})") from None
