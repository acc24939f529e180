"""What must be fast, timed as a ratio to a peer in the same run."""
