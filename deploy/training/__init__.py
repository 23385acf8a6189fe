"""The commands that train a model: train, evaluate, prune and export."""
