"""Faces of other libraries on elite_ops: change one import."""
