"""spconv's hash table, which nothing here needs."""

from elite_ops.compat.spconv.placeholder import placeholder

__all__ = ["HashTable"]

HashTable = placeholder("HashTable", "sort, or use torch.unique and torch.searchsorted")
