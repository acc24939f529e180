"""Prices the cost of IT downtime; keeps its incidents and service levels."""
