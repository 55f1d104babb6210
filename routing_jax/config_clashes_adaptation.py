"""Fields of adaptation to a domain without labels that do not go together; see `config_clashes`."""

from routing_jax.config_adaptation import ADAPTATION as FIELDS
from routing_jax.config_adaptation import TURNED, sources
from routing_jax.config_rules import Clash

_OF_A_TARGET = ("mixing", "statistics", "mixing,statistics", "statistics,mixing", "none")
"""What of a network a domain can have of its own."""


_NO_MIXING = (
    "no mixing weights train, so no loss moves anything; put mixing into training.trainable"
)


def _mixing_trains(parts: str, train_sources: bool) -> bool:
    return train_sources or parts == "all" or "mixing" in parts.split(",")


_DATA = (
    Clash(
        ("data.target", "data.domains"),
        lambda target, domains: bool(target) and target in sources(domains, target),
        "the target is among the sources, so its labels would be seen; leave it out of "
        "data.domains",
    ),
    Clash(
        ("data.target", "data.domains"),
        lambda target, domains: bool(target) and TURNED.get(target) in sources(domains, target),
        "a source holds the target's images, turned and with their labels; leave it out of "
        "data.domains",
    ),
    Clash(
        ("adaptation.loss", "data.domains", "data.target"),
        lambda loss, domains, target: (
            bool(target) and loss != "adversarial" and len(sources(domains, target)) < 2
        ),
        "moments are matched with those of at least two sources; name two in data.domains, or set "
        "adaptation.loss to adversarial",
    ),
    Clash(
        ("adaptation.start_from", "data.domains", "data.target"),
        lambda start, domains, target: (
            bool(target) and bool(start) and start not in sources(domains, target)
        ),
        "the target starts as one of the sources; name one of data.domains, or ''",
    ),
    Clash(
        ("data.target", "data.name"),
        lambda target, name: bool(target) and name != "digit_domains",
        "only digit_domains has domains; set data.name to it, or data.target to ''",
    ),
    Clash(
        ("data.domains", "data.name"),
        lambda domains, name: domains != "all" and name != "digit_domains",
        "only digit_domains has domains; set data.name to it, or leave data.domains at 'all'",
    ),
    Clash(
        ("data.digit_frame", "data.name"),
        lambda frame, name: frame != "stored" and name != "digit_domains",
        "only digit_domains scales digits by their ink; set data.name to it, or data.digit_frame "
        "to stored",
    ),
    *(
        Clash(
            ("data.domains", "data.target", name),
            lambda domains, target, value, default=default: (
                (domains != "all" or bool(target)) and value != default
            ),
            f"the names say which domains are taken; set {name} to {default}",
        )
        for name, default in (("data.num_tasks", None), ("data.first_task", 0))
    ),
    Clash(
        ("data.target", "data.validation_fraction"),
        lambda target, fraction: bool(target) and fraction > 0,
        "held-out labels of a target would choose for it, which has none; set "
        "data.validation_fraction to 0",
    ),
    *(
        Clash(
            ("data.target", name),
            lambda target, value, default=default: bool(target) and value != default,
            f"the target's images would be chosen by its labels; set {name} to {default}",
        )
        for name, default in (("data.examples_per_class", None), ("data.label_fraction", 1.0))
    ),
)

_NETWORK = (
    *(
        Clash(
            ("data.target", name),
            lambda target, value, needed=needed: bool(target) and value != needed,
            f"{why}; set {name} to {needed}",
        )
        for name, needed, why in (
            ("model.name", "compositional", "only mixing weights adapt without labels"),
            ("model.head", "shared", "a head of the target's own could not learn without labels"),
            (
                "model.statistics",
                "per_depth_and_task",
                "sources have to keep their running averages",
            ),
            ("router.agent", "per_task", "the target needs mixing weights of its own"),
            ("router.policy", "tabular", "given orders do not adapt"),
        )
    ),
    Clash(
        ("model.head", "model.name"),
        lambda head, name: head == "shared" and name != "compositional",
        "only compositional has a head for all tasks; set model.head to own or routed",
    ),
    Clash(
        ("model.head", "data.name"),
        lambda head, name: head == "shared" and name not in ("digit_domains", "own"),
        "the classes of these tasks are different ones; set model.head to own",
    ),
)

_TRAINING = (
    Clash(
        ("data.target", "training.init_from"),
        lambda target, place: bool(target) and not place,
        "a target starts from a network that has learned the sources; name the work directory of "
        "its run",
    ),
    Clash(
        ("data.target", "router.mixing_start"),
        lambda target, start: bool(target) and start != "uneven",
        "a target starts from the mixing weights of a source; leave router.mixing_start at "
        "'uneven'",
    ),
    Clash(
        ("data.target", "adaptation.train_sources", "training.trainable"),
        lambda target, training, parts: bool(target) and not training and parts not in _OF_A_TARGET,
        "these parts are not the target's own; set training.trainable to some of mixing,statistics "
        "or none, or adaptation.train_sources to true",
    ),
    Clash(
        ("data.target", "adaptation.train_sources", "training.trainable", "model.encoder"),
        lambda target, training, parts, encoder: (
            bool(target)
            and not training
            and "statistics" in parts
            and encoder in ("strided", "plain")
        ),
        "the running averages of this stem belong to all tasks; set model.encoder to "
        "space_to_depth, which has none",
    ),
    *(
        Clash(
            ("data.target", name),
            lambda target, value, default=field.default: not target and value != default,
            f"nothing adapts without a target; leave {name} at {field.default!r}",
        )
        for name, field in FIELDS.items()
    ),
    Clash(
        (
            *("training.trainable", "adaptation.train_sources", "adaptation.loss"),
            *("data.domains", "data.target"),
        ),
        # With one source no other loss is allowed than the adversarial.
        lambda parts, training, loss, domains, target: (
            bool(target)
            and not _mixing_trains(parts, training)
            and loss != "moments"
            and len(sources(domains, target)) > 1
        ),
        f"{_NO_MIXING}, or leave adaptation.loss at 'moments'",
    ),
    *(
        Clash(
            ("training.trainable", "adaptation.train_sources", name),
            lambda parts, training, value, default=FIELDS[name].default: (
                not _mixing_trains(parts, training) and value != default
            ),
            f"{_NO_MIXING}, or leave {name} at {FIELDS[name].default!r}",
        )
        for name in (
            "adaptation.moments_of",
            "adaptation.moments_weight",
            "adaptation.opponent_learning_rate",
        )
    ),
    *(
        Clash(
            ("adaptation.loss", name),
            lambda loss, value, without=without, default=FIELDS[name].default: (
                loss in without and value != default
            ),
            f"this loss has no use for it; leave {name} at {FIELDS[name].default!r}",
        )
        for name, without in (
            ("adaptation.opponent_learning_rate", ("moments",)),
            ("adaptation.moments_weight", ("adversarial",)),
            ("adaptation.moments_of", ("adversarial",)),
        )
    ),
)

ADAPTATION = (*_DATA, *_NETWORK, *_TRAINING)
