"""Neurons of a formation study → how much they resemble those at the last step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kn_lightning.formation_tables import concept_sets, rows_at
from kn_lightning.neuron_sets import Sets, Values, jaccard, jaccard_matrix

LIKENESS = "jaccard_with_last"
FOREIGN = "jaccard_with_last_of_others"


def likeness(concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """The Jaccard index of a concept's neurons with its own last ones, and with other concepts'.

    What the first has to exceed to say something of a concept is the second: some neurons serve
    many concepts.

    Args:
        concepts: rows of ``formation.parquet``.
        neurons: those that are compared: all, or those of a layer.

    Returns:
        One row a row of ``concepts``: ``step``, ``concept`` and both, the second as the mean over
        the other concepts; NaN where no two sets have one.
    """
    last = int(concepts["step"].max())
    sets = concept_sets(concepts, neurons)
    own = jaccard(sets, np.arange(len(concepts)), rows_at(concepts, last))
    return concepts[["step", "concept"]].assign(
        **{LIKENESS: own, FOREIGN: _foreign(concepts, sets, last)}
    )


def layer_likeness(concepts: pd.DataFrame, neurons: pd.DataFrame, layer: int) -> pd.DataFrame:
    """That of the neurons of a layer, of the concepts that have any there at the last step.

    So all steps are of the same concepts, as they are of the last ones that are present.
    """
    own = neurons[neurons["layer"] == layer]
    at_last = own.loc[own["step"] == concepts["step"].max(), "concept"]
    return likeness(concepts, own)[concepts["concept"].isin(at_last)]


def _foreign(concepts: pd.DataFrame, sets: Sets, last: int) -> Values:
    steps, names = concepts["step"].to_numpy(), concepts["concept"].to_numpy()
    others = np.flatnonzero(steps == last)
    means = np.full(len(concepts), np.nan)
    for step in np.unique(steps):  # one at a time bounds the memory
        own = np.flatnonzero(steps == step)
        index = jaccard_matrix(sets, own, others)
        index[names[own][:, None] == names[others]] = np.nan
        known = np.isfinite(index).sum(1)
        means[own[known > 0]] = np.nansum(index, 1)[known > 0] / known[known > 0]
    return means
