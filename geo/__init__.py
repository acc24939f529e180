"""Knows what stands where, what a hazard does to it, and how people get out."""
