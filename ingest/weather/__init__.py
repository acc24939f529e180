"""Other people's feeds, a file for each: bytes to readings, events and bulletins. Nothing here opens a connection."""
