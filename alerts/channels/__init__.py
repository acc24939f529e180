"""A file per vendor through which a warning leaves."""
