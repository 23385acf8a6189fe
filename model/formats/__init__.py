"""Weights and configurations on disk: ours, Google's, Hugging Face's and Keras's."""
