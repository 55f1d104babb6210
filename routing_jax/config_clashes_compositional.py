"""Fields of compositional networks that do not go together; see `config_clashes`."""

from routing_jax.config_fields import RESIDUAL, STEMS
from routing_jax.config_rules import Clash

COMPOSITIONAL = (
    Clash(
        ("model.name", "model.block"),
        lambda name, block: (name == "compositional") != (block in RESIDUAL),
        "compositional has blocks of inverted_residual or basic, and no other model keeps the "
        "running averages that they need; change one of the two",
    ),
    Clash(
        ("model.block", "model.encoder"),
        lambda block, encoder: (block in RESIDUAL) != (encoder in STEMS),
        "residual blocks, and no others, need a stem that sets their width; set model.encoder to "
        "strided for inverted_residual, to resnet for basic, else to conv4",
    ),
    Clash(
        ("model.name", "model.head"),
        lambda name, head: name == "compositional" and head == "routed",
        "all blocks of a compositional network keep the map, so none can give the logits; set "
        "model.head to own",
    ),
    Clash(
        ("model.name", "router.agent"),
        lambda name, agent: name == "compositional" and agent == "dispatched",
        "mixing weights do not look at the input; set router.agent to per_task, or to single for "
        "one mixture for all tasks",
    ),
    Clash(
        ("model.name", "router.entropy_weight"),
        lambda name, weight: name == "compositional" and weight > 0,
        "nothing rewards the entropy of mixing weights; set it to 0, and router.temperature_end "
        "below router.temperature for pure orders",
    ),
    Clash(
        ("model.name", "router.routes"),
        lambda name, routes: name == "compositional" and routes in ("all", "random"),
        "the order of blocks is given as shared, own, own_last, or each task's blocks; name one of "
        "these",
    ),
    Clash(
        ("router.policy", "dispatch.apply"),
        lambda policy, apply: policy == "fixed" and apply != "mix_parameters",
        "given routes take one block whole in any case; leave dispatch.apply at 'mix_parameters'",
    ),
    Clash(
        ("router.policy", "router.mixing_start"),
        lambda policy, start: policy == "fixed" and start != "uneven",
        "given routes have no mixing weights to start from; leave router.mixing_start at 'uneven'",
    ),
    Clash(
        ("router.agent", "router.mixing_start"),
        lambda agent, start: agent == "single" and start in ("alike", "source"),
        "one mixture for all tasks is alike in any case, and no task has one of its own; leave "
        "router.mixing_start at 'uneven', or set it to cycle or sequence",
    ),
    Clash(
        ("router.mixing_start", "training.init_from"),
        lambda start, place: start == "source" and not place,
        "there is no run whose mixing weights to start from; name its work directory in "
        "training.init_from, or set router.mixing_start to alike",
    ),
    *(
        Clash(
            ("model.name", name),
            lambda model, value, default=default: model != "compositional" and value != default,
            f"only compositional looks at it; leave {name} at {default!r}",
        )
        for name, default in (
            ("model.statistics", "per_depth"),
            ("dispatch.apply", "mix_parameters"),
            ("router.mixing_start", "uneven"),
        )
    ),
)
