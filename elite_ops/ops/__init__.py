"""One file per op: the typed, documented function, its fake and its gradient."""
