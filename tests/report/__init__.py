"""Tests of kn_lightning.report."""
