"""`python -m mg_vtc.cli` is `mg-vtc`."""

from .main import main

if __name__ == "__main__":  # and not where a worker imports it again
    main()
