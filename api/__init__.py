"""Speaks HTTP: turns requests into use cases and results into JSON; decides nothing."""
