"""The database's own room: reaches it, changes its shape, passes work through it."""
