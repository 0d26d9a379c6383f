"""Data, synthetic truth, losses, recipes, trainer, metrics, evaluation."""
