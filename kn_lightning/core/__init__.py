"""The method's maths in plain torch: no Lightning, no transformers, no files.

Knowledge neurons after Ariyama, Heinzerling and Inui (2022). A neuron (l, i) is the i-th input of
the second linear map of layer l's feed-forward block, at the mask. With w its activation and P the
probability of the answer at the mask::

    Attr(l, i) = w_i * integral over a in [0, 1] of dP(a * w) / dw_i       (eq. 2, attribution.py)
    sum_i Attr(l, i) = P(w) - P(0 * w)                                     (completeness)
    w_i,  w_i * dP/dw_i,  P(w) - P(w_i := 0)      other attributions     (baselines.py, registry.py)
    coarse  = { Attr > t * max Attr }      of one prompt                   (neurons.py)
    refined = { coarse in >= p of the concept's prompts }
"""
