"""The network: encoder, heads and layers, in Keras ops."""
