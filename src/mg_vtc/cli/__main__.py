"""`python -m mg_vtc.cli` is `mg-vtc`."""

from .main import main

if __name__ == "__main__":  # not when a worker imports this module
    main()
