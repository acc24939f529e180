"""The commands, a file per room: each function is a few lines around one use case."""
