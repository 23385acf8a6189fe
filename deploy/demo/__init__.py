"""`maskmill demo`: from the documentation of installed Python packages to a trained model."""
