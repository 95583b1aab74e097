"""How much memory does a train step take at its peak? Each arrangement in a process of its own.

    python benchmarks/memory.py [--batch_size 32]

The bound is what must be held: the peak of ResNet50 with a linear head, and the text tower's weights, gradients and
two moments of AdamW, 16 bytes a parameter. The last row is this project with `gradient_cache`, a quarter of the batch.
"""

import argparse

from rounds import peak_memory, peak_memory_of, print_machine
from smallest import add_smallest
from train_step import make_batch, make_limit, make_model, make_project

NUM_STEPS = 2
MAKE = {"limit": make_limit, "project": make_project, "cached": make_project}


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a train step.")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--arrangement", choices=MAKE, help="Take the steps of this one and print its bytes.")
    add_smallest(parser)
    arguments = parser.parse_args()
    size = {"smallest": arguments.smallest}
    if arguments.arrangement:
        cached = {"gradient_cache": -(-arguments.batch_size // 4)} if arguments.arrangement == "cached" else {}
        step, batch = MAKE[arguments.arrangement](**size, **cached), make_batch(arguments.batch_size, **size)
        for _ in range(NUM_STEPS):
            step(batch)
        print(peak_memory())
        return
    num_parameters = sum(p.numel() for p in make_model(**size).text_model.parameters())
    flags = (*["--smallest"][: arguments.smallest], "--batch_size", str(arguments.batch_size), "--arrangement")
    limit, project, cached = (peak_memory_of(__file__, *flags, name) / 1e9 for name in MAKE)
    text = 16 * num_parameters / 1e9
    print_machine(f"Peak memory of a train step, batches of {arguments.batch_size}.")
    print("| what | GB |\n|---|---|")
    print(f"| limit: ResNet50 + linear | {limit:.2f} |")
    print(f"| text tower: weights, gradients, two moments | {text:.2f} |")
    print(f"| this project | {project:.2f} |")
    print(f"| this project, gradient_cache {-(-arguments.batch_size // 4)} | {cached:.2f} |")
    print(f"\nThis project takes {project / (limit + text):.2f} times the sum of the first two.")


if __name__ == "__main__":
    main()
