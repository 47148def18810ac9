"""`python -m reliary_stack` is `reliary`."""

from reliary_stack.entry import main

main()
