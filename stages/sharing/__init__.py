"""Features for others: what goes out, in which format, and with which words."""
