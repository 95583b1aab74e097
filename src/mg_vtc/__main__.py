"""`python -m mg_vtc` is `mg-vtc`."""

from .cli.main import main

if __name__ == "__main__":  # not when a worker imports this module
    main()
