"""The fields of a small compositional network, as the fixtures of the tests take them."""

SMALL_COMPOSITIONAL = {
    "model__name": "compositional",
    "model__encoder": "strided",
    "model__block": "inverted_residual",
    "model__bank": "shared",
    "model__head": "own",
    "model__num_blocks": 2,
    "model__depth": 2,
    "model__width": 4,
    "model__resolution": 2,
}
