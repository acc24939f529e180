"""Starts the product: imports everything, and nothing imports it."""
