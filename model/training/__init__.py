"""How any model is trained: steps, optimizers, checkpoints, devices."""
