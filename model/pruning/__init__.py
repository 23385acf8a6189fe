"""Makes a trained BERT smaller: what matters, what stays, and the folder of what is left."""
