"""CAP as others send it: read, judged, and told apart from what must alert nobody."""
