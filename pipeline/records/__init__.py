"""TFRecord files and serialised `tf.train.Example`s."""
