"""Instances of random numbers."""

import numpy as np

from maskmill.pipeline.dataset.schema import features


def random_instances(seed: int, n: int, max_seq_length: int, max_predictions: int, largest_id: int):
    rng = np.random.default_rng(seed)
    instances = {}
    for feature in features(max_seq_length, max_predictions):
        if feature.dtype == "float32":
            instances[feature.name] = rng.integers(0, 2, (n, feature.length)).astype(np.float32)
        else:
            highest = 10 ** rng.uniform(0, np.log10(largest_id), (n, 1))
            instances[feature.name] = rng.integers(0, highest.astype(int) + 1, (n, feature.length))
    return instances
