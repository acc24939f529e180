"""The shapes that travel over the wire."""
