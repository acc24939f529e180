"""River-level forecasts: models refitted at every reading, calibrated quantiles, and their verification."""
