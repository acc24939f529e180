"""What travels over the wire: pydantic models, one file a noun. Money is an exact decimal string, times are UTC."""
