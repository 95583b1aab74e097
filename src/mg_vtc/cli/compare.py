"""`mg-vtc compare`: compare two runs on the same images."""

import argparse
from typing import Any

from ..messages import escape
from .output_flags import add_output_flags, check_output, write_output

TITLES = {
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
}


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "compare",
        help="compare two evaluated runs on the same images",
        description="Compare two runs that `mg-vtc evaluate` scored on the same images: differences of their scores, "
        "with 95 % intervals by the paired bootstrap over clips (over images where clips are not known).",
        allow_abbrev=False,
    )
    parser.add_argument("run_a", metavar="RUN_A", help="folder of an evaluated run, or of its report")
    parser.add_argument("run_b", metavar="RUN_B", help="folder of another run")
    add_output_flags(parser)
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from ..evaluation.comparison import compare

    check_output(options)
    result = compare(options.run_a, options.run_b)
    print(escape(f"A {options.run_a}\nB {options.run_b}", keep="\n"))
    print(f"{result['num_images']} images, {result['num_groups']} {result['resampled_by']}s are resampled\n")
    print(f"{'':22}{'A':>8}{'B':>8}{'B - A':>9}{'95 % interval':>20}  only A right, only B right")
    for name, score in result["scores"].items():
        interval = "none" if score["low"] is None else f"{100 * score['low']:+.1f} to {100 * score['high']:+.1f}"
        only = "" if score["only_a"] is None else f"  {score['only_a']}, {score['only_b']}"
        difference = f"{100 * score['difference']:+.1f}"
        print(f"{TITLES[name]:22}{score['a']:8.1%}{score['b']:8.1%}{difference:>9}{interval:>20}{only}".rstrip())
    print(f"\n{_conclude(result['scores']['top1_accuracy'], result['num_groups'], result['resampled_by'])}")
    if options.output is not None:
        write_output(options.output, result)


def _conclude(score: dict[str, Any], num_groups: int, group: str) -> str:
    if score["low"] is None:
        return (
            f"{num_groups} {group}{'s' if num_groups > 1 else ''} cannot show whether the difference holds for others."
        )
    if score["low"] <= 0 <= score["high"]:
        return "The interval of top-1 holds 0: these images do not show that one run is better."
    better = "B" if score["difference"] > 0 else "A"
    return f"{better} has the higher top-1 on these images, beyond what resampling them explains."
