"""Tests of what becomes of a source's prompts before the encoder sees them."""
