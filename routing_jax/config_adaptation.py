"""The fields of adaptation to a domain without labels, as `config_fields` takes them."""

from routing_jax import config_rules as rules
from routing_jax.config_rules import Field, Rule, one_of, some_of

DOMAINS = ("mnist", "mnist rotated", "usps", "digits")
"""The tasks of data.name=digit_domains, in their order."""
TURNED = {"mnist": "mnist rotated", "mnist rotated": "mnist"}
"""The domain that holds the same images, whose labels would tell those of the other."""
FEATURES = ("maps", "head")
DIGIT_FRAMES = ("stored", "ink")
ALIGNMENTS = ("moments", "adversarial", "discrepancy")
_A_DOMAIN = Rule(str, f"one of: {', '.join(DOMAINS)}, or ''", lambda value: value in ("", *DOMAINS))

DATA = {
    "data.domains": Field(
        "all",
        some_of(DOMAINS, "all"),
        "the domains of digit_domains that have labels, by name; all = all but data.target and "
        "what has its images",
    ),
    "data.digit_frame": Field(
        "stored",
        one_of(DIGIT_FRAMES),
        "what of digit_domains' images is scaled to data.image_size: all of it, or the square "
        "around the ink, so that digits of all sets are of a size",
    ),
    "data.target": Field(
        "",
        _A_DOMAIN,
        "a domain whose labels are not seen, which the network adapts to; '' = none",
    ),
}
ADAPTATION = {
    "adaptation.loss": Field(
        "moments", one_of(ALIGNMENTS), "what makes the target's features resemble the sources'"
    ),
    "adaptation.moments_of": Field(
        "maps",
        one_of(FEATURES),
        "whose moments are matched: of the maps of the last block, or of what the head takes",
    ),
    "adaptation.moments_weight": Field(
        5e-4, rules.POSITIVE, "weight of the distance between moments"
    ),
    "adaptation.start_from": Field(
        "",
        _A_DOMAIN,
        "the source whose mixing weights and running averages the target starts with; '' = the "
        "first of them",
    ),
    "adaptation.opponent_learning_rate": Field(
        1e-4, rules.POSITIVE, "step size of the discriminator, or of the second head (adam)"
    ),
    "adaptation.train_sources": Field(
        False,
        rules.FLAG,
        "whether the sources keep training by their labels, instead of all but the target's own "
        "being frozen",
    ),
}


def sources(domains: str, target: str) -> tuple[str, ...]:
    """The domains that have labels, in their order, by `data.domains` and `data.target`."""
    if domains == "all":
        return tuple(name for name in DOMAINS if name not in (target, TURNED.get(target)))
    return tuple(domains.split(","))
