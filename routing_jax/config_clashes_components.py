"""Fields of networks of components that do not go together; see `config_clashes`."""

from routing_jax.config_components import NORM_GROUPS, strides_of
from routing_jax.config_rules import Clash

COMPONENTS = (
    Clash(
        ("model.block", "model.encoder"),
        lambda block, encoder: block == "components" and encoder == "flatten",
        "components need a map to work on; set model.encoder to pointwise or model.block to dense",
    ),
    Clash(
        ("model.block", "model.components"),
        lambda block, components: (block == "components") != bool(components),
        "block=components and the names of the components go together; set both or neither",
    ),
    Clash(
        ("model.block", "model.strides"),
        lambda block, strides: block != "components" and bool(strides),
        "only components have strides that can be set; set model.strides to ''",
    ),
    Clash(
        ("model.strides", "model.depth"),
        lambda strides, depth: bool(strides) and len(strides_of(strides, depth)) != depth,
        "each routed layer has one stride; give as many as model.depth says",
    ),
    Clash(
        ("model.block", "model.encoder", "model.width"),
        lambda block, encoder, width: (
            (block == "components" or encoder == "pointwise") and width % NORM_GROUPS > 0
        ),
        f"{NORM_GROUPS} groups of channels are normalised; set model.width to a multiple of "
        f"{NORM_GROUPS}",
    ),
    Clash(
        ("model.block", "model.head"),
        lambda block, head: block == "components" and head != "own",
        "components give maps; set model.head to own, which gives the logits",
    ),
    Clash(
        ("model.block", "model.num_blocks"),
        lambda block, blocks: block == "components" and blocks is not None,
        "the components say themselves how many blocks there are; set model.num_blocks to None",
    ),
)
