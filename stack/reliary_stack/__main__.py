"""`python -m reliary_stack` is `reliary`."""

from reliary_stack.cli import main

main()
