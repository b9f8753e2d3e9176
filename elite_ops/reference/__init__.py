"""The definition of each op in plain PyTorch: slow, short, and what the tests compare with."""
