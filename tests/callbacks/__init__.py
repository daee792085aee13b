"""Tests of the stages behind attribution, and what runs whole studies for them."""
