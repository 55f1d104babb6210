"""The fields of the data, as `config_fields` takes them."""

import json

from routing_jax import config_adaptation
from routing_jax import config_rules as rules
from routing_jax.config_rules import Field, Rule, one_of, or_none

DATA_SETS = (
    *("mnist", "fashion_mnist", "usps", "cifar100", "omniglot", "mini_imagenet"),
    *("clusters", "digits", "digit_domains", "synthetic", "class_folders", "own"),
)
DATA_INPUTS = ("auto", "memory", "stream")
DATA_TASKS = (
    *("one_vs_rest", "all_classes", "superclass", "alphabet", "random_groups"),
    *("related_pairs", "rotated_copies", "clusters", "own"),
)
DATA_FALLBACKS = ("digits", "none")
AUGMENTATIONS = ("none", "crop", "crop_flip")
VALIDATION_USES = ("tuning", "best_step")


def _are_data(text: str) -> bool:
    """Whether a text is a JSON list of objects that hold fields of `data`."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, list) and all(map(_is_data, found))


def _is_data(fields: object) -> bool:
    if not isinstance(fields, dict):
        return False
    found = {f"data.{name}": value for name, value in fields.items()}
    return all(name in FIELDS and FIELDS[name].rule.accepts(found[name]) for name in found)


_OLD_TASKS = Rule(
    str, "text as --mode=add_task writes it; or ''", lambda value: not value or _are_data(value)
)

FIELDS: dict[str, Field] = {
    "data.name": Field(
        "mnist",
        one_of(DATA_SETS),
        "data set; clusters are cifar100, mnist and fashion_mnist together, digits is embedded in "
        "scikit-learn, digit_domains joins digits of four sources, synthetic is made up for "
        "regression, class_folders are folders of images in data.dir, own is given from Python",
    ),
    "data.tasks": Field("one_vs_rest", one_of(DATA_TASKS), "how the data are cut into tasks"),
    "data.num_tasks": Field(
        None, or_none(rules.COUNT, "all that there are"), "how many tasks, from the first (T)"
    ),
    "data.first_task": Field(0, rules.SIDE, "number of the first task that is taken"),
    "data.old_tasks": Field(
        "",
        _OLD_TASKS,
        "tasks that the network of training.init_from has; those named here are added to them",
    ),
    "data.dir": Field(
        "", rules.ANY_TEXT, "prepared TFDS sets; '' = $ROUTING_JAX_DATA_DIR, then TFDS's default"
    ),
    "data.input": Field(
        "auto",
        one_of(DATA_INPUTS),
        "whether images are held in memory or read while training goes on; auto = the latter "
        "where they take more than half of the memory there is",
    ),
    "data.fallback": Field(
        "digits", one_of(DATA_FALLBACKS), "what replaces a missing set; none = an error"
    ),
    "data.cache_dir": Field("", rules.ANY_TEXT, "decoded arrays; '' = the user's cache directory"),
    "data.validation_fraction": Field(
        0.0, rules.UNIT_BELOW_ONE, "share of the training examples held out for validation"
    ),
    "data.validation_use": Field(
        "tuning",
        one_of(VALIDATION_USES),
        "whether these take the place of the test set, or choose the step that is tested",
    ),
    "data.alphabets": Field(
        "", rules.ANY_TEXT, "alphabets by name, such as Gujarati,Korean; '' = by data.num_tasks"
    ),
    **config_adaptation.DATA,
    "data.label_fraction": Field(
        1.0, rules.UNIT_ABOVE_ZERO, "share of the training labels that is kept, task by task"
    ),
    "data.examples_per_class": Field(
        None,
        or_none(rules.COUNT, "all that there are"),
        "training examples of each class of a task that keep their label",
    ),
    "data.image_size": Field(
        0, rules.SIDE, "side in pixels that images are scaled to; 0 = as stored"
    ),
    "data.augment": Field("none", one_of(AUGMENTATIONS), "random changes to training images"),
    "data.share_images": Field(
        False, rules.FLAG, "whether all tasks of a step look at the same images"
    ),
    "data.num_pairs": Field(4, rules.PAIRS, "pairs of tasks of the synthetic set"),
    "data.relatedness": Field(
        0.5, rules.UNIT, "share of a synthetic target that the tasks of a pair have in common"
    ),
}
