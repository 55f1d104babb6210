"""Which superclasses of CIFAR-100 are alike in meaning: for fixed routes, and to judge routes by.

The grouping is ours, made from the names alone, before any run was looked at.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "water animals": ("aquatic_mammals", "fish"),
    "plants": ("flowers", "fruit_and_vegetables", "trees"),
    "household": ("food_containers", "household_electrical_devices", "household_furniture"),
    "small animals": ("insects", "non-insect_invertebrates", "reptiles"),
    "land mammals": (
        "large_carnivores",
        "large_omnivores_and_herbivores",
        "medium_mammals",
        "small_mammals",
    ),
    "people": ("people",),
    "outdoor scenes": ("large_man-made_outdoor_things", "large_natural_outdoor_scenes"),
    "vehicles": ("vehicles_1", "vehicles_2"),
}
"""Names of superclasses, by the name of their group."""

GROUP_OF_SUPERCLASS = {name: group for group, names in GROUPS.items() for name in names}

SUPERCLASSES = tuple(sorted(GROUP_OF_SUPERCLASS))
"""In the order of the tasks."""


def clustered_routes() -> str:
    """Fixed routes by group: tasks of a group share all blocks but their last one.

    As `router.routes` takes them, for three routed layers.
    """
    number = {group: i for i, group in enumerate(GROUPS)}
    groups = [number[GROUP_OF_SUPERCLASS[name]] for name in SUPERCLASSES]
    return " ".join(f"{group}-{group}-{task}" for task, group in enumerate(groups))
