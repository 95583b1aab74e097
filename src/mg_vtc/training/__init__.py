"""Training: recipes, data of a run, the trainer, and runs from start to end."""
