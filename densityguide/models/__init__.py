"""Networks (flax), their weights and model cards, shipped models."""
