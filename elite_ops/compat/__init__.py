"""Other libraries' names on these kernels: code written for them runs after one changed import."""
