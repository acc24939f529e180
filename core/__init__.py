"""The ground floor: words every room uses. No input or output but the environment."""
