"""Documents to BERT pre-training shards: pure functions, and the Beam DAG that runs them."""
