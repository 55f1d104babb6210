"""Wrong values and clashes of the fields of adaptation, with their exact messages."""

import pytest
from tiny_runs import ROOT

from routing_jax.config import validate
from routing_jax.config_adaptation import DOMAINS, sources
from routing_jax.errors import ConfigError
from routing_jax.experiment import load_config

EXPERIMENT = ROOT / "experiments" / "compositional_adaptation.py"


def problems(argument="row=both", **changed):
    config = load_config(f"{EXPERIMENT}:{argument}", EXPERIMENT.parent)
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changed.items()}
    )
    with pytest.raises(ConfigError) as error:
        validate(config)
    return str(error.value).split("\n  ")[1:]


TOO_FEW = (
    "moments are matched with those of at least two sources; name two in data.domains, or set "
    "adaptation.loss to adversarial"
)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            {"data__domains": "mnist,usps"},
            "data.target = 'usps' and data.domains = 'mnist,usps' clash: the target is among the "
            "sources, so its labels would be seen; leave it out of data.domains",
        ),
        (
            {"data__domains": "mnist"},
            "adaptation.loss = 'moments' and data.domains = 'mnist' and data.target = 'usps' "
            f"clash: {TOO_FEW}",
        ),
        (
            {"data__domains": "mnist", "adaptation__loss": "discrepancy"},
            "adaptation.loss = 'discrepancy' and data.domains = 'mnist' and data.target = 'usps' "
            f"clash: {TOO_FEW}",
        ),
        (
            {"data__target": "mnist", "data__domains": "usps,mnist rotated"},
            "data.target = 'mnist' and data.domains = 'usps,mnist rotated' clash: a source holds "
            "the target's images, turned and with their labels; leave it out of data.domains",
        ),
        (
            {"router__mixing_start": "alike"},
            "data.target = 'usps' and router.mixing_start = 'alike' clash: a target starts from "
            "the mixing weights of a source; leave router.mixing_start at 'uneven'",
        ),
        (
            {"training__trainable": "statistics", "adaptation__loss": "adversarial"},
            "training.trainable = 'statistics' and adaptation.train_sources = False and "
            "adaptation.loss = 'adversarial' and data.domains = 'mnist,digits' and data.target = "
            "'usps' clash: no mixing weights train, so no loss moves anything; put mixing into "
            "training.trainable, or leave adaptation.loss at 'moments'",
        ),
        (
            {"training__trainable": "statistics", "adaptation__moments_weight": 0.1},
            "training.trainable = 'statistics' and adaptation.train_sources = False and "
            "adaptation.moments_weight = 0.1 clash: no mixing weights train, so no loss moves "
            "anything; put mixing into training.trainable, or leave adaptation.moments_weight at "
            "0.0005",
        ),
        (
            {"adaptation__start_from": "mnist rotated"},
            "adaptation.start_from = 'mnist rotated' and data.domains = 'mnist,digits' and "
            "data.target = 'usps' clash: the target starts as one of the sources; name one of "
            "data.domains, or ''",
        ),
        (
            {"data__num_tasks": 2},
            "data.domains = 'mnist,digits' and data.target = 'usps' and data.num_tasks = 2 clash: "
            "the names say which domains are taken; set data.num_tasks to None",
        ),
        (
            {"data__validation_fraction": 0.1},
            "data.target = 'usps' and data.validation_fraction = 0.1 clash: held-out labels of a "
            "target would choose for it, which has none; set data.validation_fraction to 0",
        ),
        (
            {"data__examples_per_class": 10},
            "data.target = 'usps' and data.examples_per_class = 10 clash: the target's images "
            "would be chosen by its labels; set data.examples_per_class to None",
        ),
        (
            {"data__label_fraction": 0.5},
            "data.target = 'usps' and data.label_fraction = 0.5 clash: the target's images would "
            "be chosen by its labels; set data.label_fraction to 1.0",
        ),
        (
            {"adaptation__opponent_learning_rate": 0.1},
            "adaptation.loss = 'moments' and adaptation.opponent_learning_rate = 0.1 clash: this "
            "loss has no use for it; leave adaptation.opponent_learning_rate at 0.0001",
        ),
        (
            {"adaptation__loss": "adversarial", "adaptation__moments_weight": 0.1},
            "adaptation.loss = 'adversarial' and adaptation.moments_weight = 0.1 clash: this loss "
            "has no use for it; leave adaptation.moments_weight at 0.0005",
        ),
        (
            {"adaptation__loss": "adversarial", "adaptation__moments_of": "head"},
            "adaptation.loss = 'adversarial' and adaptation.moments_of = 'head' clash: this loss "
            "has no use for it; leave adaptation.moments_of at 'maps'",
        ),
        (
            {"model__head": "own"},
            "data.target = 'usps' and model.head = 'own' clash: a head of the target's own could "
            "not learn without labels; set model.head to shared",
        ),
        (
            {"model__statistics": "per_depth"},
            "data.target = 'usps' and model.statistics = 'per_depth' clash: sources have to keep "
            "their running averages; set model.statistics to per_depth_and_task",
        ),
        (
            {"router__agent": "single"},
            "data.target = 'usps' and router.agent = 'single' clash: the target needs mixing "
            "weights of its own; set router.agent to per_task",
        ),
        (
            {"training__init_from": ""},
            "data.target = 'usps' and training.init_from = '' clash: a target starts from a "
            "network that has learned the sources; name the work directory of its run",
        ),
        (
            {"training__trainable": "mixing,head"},
            "data.target = 'usps' and adaptation.train_sources = False and training.trainable = "
            "'mixing,head' clash: these parts are not the target's own; set training.trainable to "
            "some of mixing,statistics or none, or adaptation.train_sources to true",
        ),
        (
            {"model__encoder": "strided"},
            "data.target = 'usps' and adaptation.train_sources = False and training.trainable = "
            "'mixing,statistics' and model.encoder = 'strided' clash: the running averages of this "
            "stem belong to all tasks; set model.encoder to space_to_depth, which has none",
        ),
        (
            {"data__target": "", "training__trainable": "all", "adaptation__loss": "adversarial"},
            "data.target = '' and adaptation.loss = 'adversarial' clash: nothing adapts without a "
            "target; leave adaptation.loss at 'moments'",
        ),
        (
            {"data__target": "svhn"},
            "data.target = 'svhn' is not allowed: set it to one of: mnist, mnist rotated, usps, "
            "digits, or '' (default '')",
        ),
        (
            {"data__domains": "mnist,svhn"},
            "data.domains = 'mnist,svhn' is not allowed: set it to all, or some of mnist, mnist "
            "rotated, usps, digits, such as mnist,mnist rotated (default 'all')",
        ),
        (
            {"training__trainable": "order"},
            "training.trainable = 'order' is not allowed: set it to all, none, or some of head, "
            "mixing, normalisation, statistics, blocks, encoder, adapter, such as head,mixing "
            "(default 'all')",
        ),
        (
            {"adaptation__loss": "wasserstein"},
            "adaptation.loss = 'wasserstein' is not allowed: set it to one of: moments, "
            "adversarial, discrepancy (default 'moments')",
        ),
    ],
)
def test_a_wrong_field_is_told_with_the_way_out(changed, line):
    assert problems(**changed) == [line]


@pytest.mark.parametrize("row", ["statistics", "source_only"])
def test_one_source_will_do_where_nothing_is_matched(row):
    argument, one = f"row={row},loss=adversarial", {"data.domains": "mnist"}
    config = load_config(f"{EXPERIMENT}:{argument}", EXPERIMENT.parent)
    config.update_from_flattened_dict(one)
    validate(config)


def test_domains_are_of_digit_domains_alone():
    lines = problems("row=sources", data__name="cifar100", data__image_size=0)
    assert lines == [
        "data.domains = 'mnist,digits' and data.name = 'cifar100' clash: only digit_domains has "
        "domains; set data.name to it, or leave data.domains at 'all'",
        "model.head = 'shared' and data.name = 'cifar100' clash: the classes of these tasks are "
        "different ones; set model.head to own",
    ]


def test_a_shared_head_is_for_compositional_networks():
    lines = problems("row=sources", model__name="soft_mixture")
    assert (
        "model.head = 'shared' and model.name = 'soft_mixture' clash: only compositional has a "
        "head for all tasks; set model.head to own or routed"
    ) in lines


def test_one_source_is_enough_for_a_discriminator():
    config = load_config(f"{EXPERIMENT}:row=mixing,loss=adversarial", EXPERIMENT.parent)
    config.data.domains = "mnist"
    validate(config)


def test_all_domains_are_all_but_the_target():
    assert sources("all", "") == DOMAINS
    assert sources("all", "usps") == ("mnist", "mnist rotated", "digits")
    assert sources("all", "mnist rotated") == ("usps", "digits")  # not the same images
    assert sources("digits,mnist", "usps") == ("digits", "mnist")
