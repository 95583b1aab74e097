"""Train from a checkout: `accelerate launch train.py recommended --train_dir FOLDER`; without arguments, the demo."""

import sys

from mg_vtc.training.run import main

if __name__ == "__main__":
    main(sys.argv[1:] or ["demo", "--overwrite"], program="train.py")
