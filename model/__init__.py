"""Shards to a trained BERT, in Keras 3."""
