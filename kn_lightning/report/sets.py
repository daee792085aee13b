"""Tables of a run → sets of neurons, one row a prompt."""

from __future__ import annotations

import pandas as pd

from kn_lightning.neuron_sets import Places, Sets, row_sets
from kn_lightning.report.tables import RunTables


def coarse_sets(tables: RunTables) -> Sets:
    """One row a prompt, in the order of ``prompts``."""
    return row_sets(coarse_rows(tables), tables.coarse, len(tables.prompts))


def coarse_rows(tables: RunTables) -> Places:
    """The prompt of each row of ``coarse``, as its place in ``prompts``."""
    ids = tables.coarse["prompt_id"].cat
    places: Places = pd.Index(tables.prompts["prompt_id"]).get_indexer(ids.categories)
    return places[ids.codes]
