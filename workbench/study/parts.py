"""Parts that several studies are made of."""

from __future__ import annotations

from workbench.config import Budget, Stage


def pretrain(pflops: float) -> tuple[Stage, ...]:
    """One stage under the recipe's own losses, with its masking, for so many training PFLOPs."""
    return (Stage(budget=Budget(unit="pflops", amount=pflops)),)


def pretrain_then_align(pflops: float) -> tuple[Stage, ...]:
    """Two thirds of the training PFLOPs under the recipe's own losses, one third aligning unmasked.

    Without that last stage an arm that only predicts has no aligned space in which it could be judged.
    """
    align = Budget(unit="pflops", amount=pflops / 3)
    return (*pretrain(pflops * 2 / 3), Stage(objective="align", masked=False, budget=align))
