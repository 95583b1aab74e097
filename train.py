"""Train from a checkout: `accelerate launch train.py recommended --train_dir FOLDER`; without arguments, the demo."""

import sys

from mg_vtc.training.run import main

main(sys.argv[1:] or ["demo", "--overwrite_output_dir"], program="train.py")
