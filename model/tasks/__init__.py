"""What a trained BERT is used for: vectors of texts, and classification."""
