"""How lines look, the same in the figures and on the report page. Imports no matplotlib."""

import numpy as np

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers too, but its yellow: too pale."""
LOSSES = {"accuracy": "cross-entropy (nats, mean over tasks)"}
"""What the training loss is, by the first metric of the test."""
FEW_POINTS = 30
"""Up to here each point of a line gets a marker."""


def spans_a_decade(values: np.ndarray) -> bool:
    """Whether numbers reach so far apart that an axis of them is better logarithmic."""
    positive = values[values > 0]
    return positive.size > 0 and float(positive.max()) >= 10 * float(positive.min())
