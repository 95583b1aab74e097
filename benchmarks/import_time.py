"""What does `import mg_vtc` cost beside `import transformers`? Seconds of a fresh interpreter, in turn.

python benchmarks/import_time.py [--rounds 9]
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds(code: str) -> float:
    """Wall time of an interpreter that runs the code and ends."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Import time beside that of transformers.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    codes = ("pass", "import transformers", "import mg_vtc", "import mg_vtc, transformers")
    times: dict[str, list[float]] = {code: [] for code in codes}
    for number in range(rounds + 1):  # the first warms up the disk cache
        for code in codes:
            elapsed = seconds(code)
            if number:
                times[code].append(elapsed)
    print(f"| code | seconds, median of {rounds} | of `import transformers` |\n|---|---|---|")
    for code, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["import transformers"], strict=True))
        print(f"| `{code}` | {statistics.median(values):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
