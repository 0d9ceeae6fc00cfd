"""The questions by name, in the order in which they are answered."""

from __future__ import annotations

from studies.evidence import (
    alignment,
    control,
    costs,
    detail,
    dial,
    equal,
    estimators,
    nominal,
    outside,
    quality,
    variation,
)
from studies.evidence.study import Question

__all__ = ["QUESTIONS"]

QUESTIONS: dict[str, Question] = {
    "dial": dial.QUESTION,
    "detail": detail.QUESTION,
    "alignment": alignment.QUESTION,
    "quality": quality.QUESTION,
    "equal": equal.QUESTION,
    "control": control.QUESTION,
    "variation": variation.QUESTION,
    "estimators": estimators.QUESTION,
    "cost": costs.QUESTION,
    "nominal": nominal.QUESTION,
    "outside": outside.QUESTION,
}
