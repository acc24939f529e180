"""A file per noun: requests to use cases, results to JSON. Nothing is decided here."""
