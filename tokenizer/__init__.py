"""Text to token ids: BERT's basic and WordPiece tokenizers, and the vocabularies they use."""
