"""Pre-training: datasets to batches, phases, dynamic masking, evaluation."""
