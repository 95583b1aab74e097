"""What does `import mg_vtc` cost beside `import transformers`? Seconds of a fresh interpreter, in turn.

python benchmarks/import_time.py [--rounds 9]
"""

import argparse
import statistics
import subprocess
import sys

from rounds import measure_rounds, print_machine, speed_ratios, spread

CODES = ("import transformers", "import mg_vtc", "import mg_vtc, transformers")


def main() -> None:
    parser = argparse.ArgumentParser(description="Import time beside that of transformers.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    seconds = measure_rounds(
        {code: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True) for code in CODES}, rounds
    )
    print_machine("Import time.")
    print("| code | seconds | of `import transformers` | spread |\n|---|---|---|---|")
    for code, values in seconds.items():
        ratio = statistics.median(1 / ratio for ratio in speed_ratios(seconds, code))
        print(f"| `{code}` | {statistics.median(values):.2f} | {ratio:.2f} | {spread(seconds, code):.0%} |")


if __name__ == "__main__":
    main()
