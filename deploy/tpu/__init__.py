"""`maskmill tpu`: training on Cloud TPUs."""
