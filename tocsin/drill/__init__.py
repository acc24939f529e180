"""A small made-up world in which a storm arrives: exercise only. Described in docs/methods/drill.md."""
