"""`python -m mg_vtc.cli` is `mg-vtc`."""

from .main import main

main()
