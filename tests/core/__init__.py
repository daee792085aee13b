"""Tests of kn_lightning.core."""
