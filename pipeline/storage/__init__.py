"""Files: on this machine, in Cloud Storage, or mirrored between them."""
