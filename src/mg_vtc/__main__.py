"""`python -m mg_vtc` is `mg-vtc`."""

from .cli.main import main

main()
