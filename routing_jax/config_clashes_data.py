"""Fields of the data that do not go together; see `config_clashes`."""

from routing_jax.config_rules import Clash

DISJOINT_TASKS = ("superclass", "alphabet", "random_groups")
"""Ways to cut a set so that each image belongs to one task."""

STREAMED = ("mnist", "fashion_mnist", "usps", "cifar100", "class_folders")
"""Sets whose images can be read one by one from where they are stored."""
_WITH_SUPERCLASSES = ("cifar100", "digit_domains", "class_folders")

DATA = (
    Clash(
        ("data.input", "data.name"),
        lambda kind, name: kind == "stream" and name not in STREAMED,
        f"only {', '.join(STREAMED)} are streamed; set data.input to auto",
    ),
    Clash(
        ("data.input", "data.tasks"),
        lambda kind, tasks: kind == "stream" and tasks == "rotated_copies",
        "turned images have to be made first; set data.input to auto",
    ),
    Clash(
        ("data.dir", "data.name"),
        lambda folder, name: not folder and name == "class_folders",
        "the folders have to be named; set data.dir to the folder that holds train and val",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: tasks == "superclass" and name not in _WITH_SUPERCLASSES,
        "this set has no superclasses; set data.name to cifar100, or data.tasks to one_vs_rest",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: tasks != "superclass" and name == "digit_domains",
        "its sources are its superclasses, and each is a task; set data.tasks to superclass",
    ),
    Clash(
        ("data.image_size", "data.name"),
        lambda size, name: size == 0 and name == "digit_domains",
        "its sources have images of unlike sizes; set data.image_size to 16",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: (tasks == "alphabet") != (name == "omniglot"),
        "omniglot has alphabet tasks, and no other set has them; change one of the two",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: (tasks == "random_groups") != (name == "mini_imagenet"),
        "mini_imagenet has random_groups tasks, and no other set has them; change one of the two",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: (tasks == "related_pairs") != (name == "synthetic"),
        "synthetic has related_pairs tasks, and no other set has them; change one of the two",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: (tasks == "own") != (name == "own"),
        "a task set of one's own has tasks of its own; change one of the two",
    ),
    Clash(
        ("data.tasks", "data.name"),
        lambda tasks, name: (tasks == "clusters") != (name == "clusters"),
        "the set clusters has tasks of its own, and no other set has them; change one of the two",
    ),
    Clash(
        ("data.share_images", "data.tasks"),
        lambda share, tasks: share and tasks in (*DISJOINT_TASKS, "rotated_copies", "clusters"),
        "these tasks have no images in common; set data.share_images to false",
    ),
    Clash(
        ("data.validation_use", "data.validation_fraction"),
        lambda use, fraction: use == "best_step" and fraction == 0,
        "the best step is chosen by held-out examples; set data.validation_fraction above 0",
    ),
    Clash(
        ("data.alphabets", "data.name"),
        lambda alphabets, name: bool(alphabets) and name != "omniglot",
        "only omniglot has alphabets; set data.alphabets to ''",
    ),
    Clash(
        ("data.alphabets", "data.first_task"),
        lambda alphabets, first: bool(alphabets) and first > 0,
        "the names say which tasks are taken; set data.first_task to 0",
    ),
    Clash(
        ("data.examples_per_class", "data.label_fraction"),
        lambda count, fraction: count is not None and fraction < 1,
        "both say how many labels are kept; set data.label_fraction to 1 or "
        "data.examples_per_class to None",
    ),
    Clash(
        ("data.examples_per_class", "data.name"),
        lambda count, name: count is not None and name == "synthetic",
        "a predicted number has no class; set data.examples_per_class to None",
    ),
    Clash(
        ("data.alphabets", "data.num_tasks"),
        lambda alphabets, count: bool(alphabets) and count is not None,
        "the names say how many tasks there are; set data.num_tasks to None",
    ),
    Clash(
        ("data.image_size", "data.name"),
        lambda size, name: size > 0 and name in ("digits", "synthetic", "clusters"),
        "only single prepared sets are scaled; set data.image_size to 0",
    ),
    Clash(
        ("model.encoder", "data.name"),
        lambda encoder, name: encoder != "flatten" and name == "synthetic",
        "synthetic inputs are vectors, not images; set model.encoder to flatten",
    ),
    Clash(
        ("data.augment", "data.name"),
        lambda augment, name: augment != "none" and name == "synthetic",
        "synthetic inputs are vectors, not images; set data.augment to none",
    ),
    Clash(
        ("reward.final", "data.name"),
        lambda final, name: final == "correctness" and name == "synthetic",
        "a predicted number is not right or wrong; set reward.final to negative_loss",
    ),
)
