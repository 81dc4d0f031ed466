"""`python -m kdjax` is the command `kdjax`."""

from kdjax.cli import main

main()
