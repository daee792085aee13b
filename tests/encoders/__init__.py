"""Tests of kn_lightning.encoders."""
