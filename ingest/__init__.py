"""Turns messages and weather feeds into checked, stored observations and forecasts."""
