"""Masked LMs of any architecture: where their neurons are, and how rows with changed neurons run.

``loading`` makes an :class:`~kn_lightning.encoders.encoder.Encoder`; ``discovery`` finds its
neurons, ``contract`` checks them; ``hooked`` is the reference forward, ``staged`` the fast one.
"""
