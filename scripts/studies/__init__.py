"""Simulated worlds in which the truth is known, and how the statistics do in them."""
