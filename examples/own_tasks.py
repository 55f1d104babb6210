"""Task sets of one's own: from arrays, and from a folder of images, trained by `rj.train`.

The tasks of the first set have different sizes and numbers of classes, and two of them look at the
same images, of which the second has labels for a quarter only.

    python examples/own_tasks.py
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import routing_jax as rj


def from_arrays():
    """Which digit, from 1,400 images; whether it is odd, from labels for 350 of them; and whether a
    digit stands upside down, from 800 others."""
    digits = load_digits()
    images, labels = (digits.images[..., None] * 15).astype(np.uint8), digits.target
    odd = labels % 2
    odd[np.arange(labels.size) % 4 != 0] = -1  # no label
    learn, test = slice(None, 1400), slice(1400, None)
    seen = images[learn]  # the same array in two tasks is stored once
    turned, up = np.arange(labels.size) % 2, images
    up = np.where(turned[:, None, None, None] == 1, images[:, ::-1, ::-1], images)
    return rj.task_set(
        "digit_tasks",
        train={
            "digit": (seen, labels[learn]),
            "odd": (seen, odd[learn]),
            "upside down": (up[:800], turned[:800]),
        },
        test={
            "digit": (images[test], labels[test]),
            "odd": (images[test], labels[test] % 2),
            "upside down": (up[test], turned[test]),
        },
    )


def write_class_folder(folder):
    """Two tasks of image files: <folder>/<split>/<task>/<class>/<image>."""
    digits = load_digits()
    for row, (picture, digit) in enumerate(zip(digits.images[:600], digits.target, strict=False)):
        split = "test" if row % 4 == 0 else "train"
        task = "small digits" if digit < 5 else "large digits"
        path = Path(folder, split, task, str(digit), f"{row}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15).astype(np.uint8)).save(path)


def main():
    config = rj.base_config()
    config.experiment = "own_tasks"
    config.model.update({"encoder": "flatten", "depth": 2, "width": 64, "block_noise": 0.1})
    config.optimizer.learning_rate = 0.1
    config.training.update({"steps": 600, "examples_per_task": 32})
    with tempfile.TemporaryDirectory() as scratch:
        results = rj.train(config, from_arrays(), workdir=f"{scratch}/run")
        write_class_folder(f"{scratch}/digit_folders")
        tasks = rj.task_set_from_folder(f"{scratch}/digit_folders", image_size=(8, 8), channels=1)
    print(f"{tasks.name}: {tasks.task_names}, {tasks.train.sizes} images, train it likewise")
    return dict(zip(results["tasks"], results["test"]["accuracy"]["per_task"], strict=True)), tasks


if __name__ == "__main__":
    main()
