"""`python -m mg_vtc` is `mg-vtc`."""

from .cli.main import main

if __name__ == "__main__":  # and not where a worker imports it again
    main()
