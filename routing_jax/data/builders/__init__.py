"""The original files of each image set, checked and turned into examples of its TFDS form.

One file per source. Each offers `OriginalSet` constants; `routing_jax.data.prepare` writes them.
"""
