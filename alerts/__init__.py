"""Decides who must be told what, says it in CAP, and sees that it arrives."""
