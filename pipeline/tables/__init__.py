"""Tables of texts with labels, to learn from and to predict: rows, what a model sees of them, and predictions."""
