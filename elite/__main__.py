"""`python -m elite` is the `elite` command."""

from elite.cli import main

main()
