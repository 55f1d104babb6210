"""The version of each image set that is prepared and read."""

VERSIONS = {
    "mnist": "3.0.1",
    "fashion_mnist": "3.0.1",
    "cifar100": "3.0.2",
    "omniglot": "3.0.0",
    "usps": "1.0.0",
    "mini_imagenet": "1.0.0",
}
"""By TFDS's name of the set; TFDS's own versions of those that it has."""
