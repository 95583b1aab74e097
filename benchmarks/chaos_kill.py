"""Kill commands at random moments, repeat them, and compare what they wrote with an undisturbed run.

    python benchmarks/chaos_kill.py --moments 100 --output_dir runs/kill

A command is a fork of a process that has imported the package, so it is killed in its work and not in its imports. Its
moment is drawn uniformly from the CPU time of an undisturbed one, so that a busy machine changes nothing. It survives
if its repetition succeeds and leaves the same files with the same bytes. It is lost if the repetition fails. It is
silent if it succeeds with other files. Cases are recorded in `cases.jsonl`: run the same command again to resume.

A push goes to a Hub on loopback, and its results are the files of the repository, all of which are compared.

Of JSON files, keys of times and paths (`TIMES`) and means over several steps (`MEANS`) are left out of the comparison.
Files of `LEFT_OUT` are left out as a whole.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from chaos_fork import CommandServer
from chaos_runs import OUTCOMES, TINY, draw_images, flags_of, read_lines, silence, write_summary
from local_hub import Hub, client_environment, serving_hub
from PIL import Image

from mg_vtc import train as train_run

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
TIMES = (
    "runtime",
    "_per_second",
    "seconds",
    "total_flos",
    "date",
    "num_input_tokens",
    "output_dir",
    "places",
    "commit",
)
MEANS = ("train_loss",)  # over all steps, which a resumed run has only from its checkpoint on
# With times or paths in them: the card, digests of such files, and locks.
LEFT_OUT = ("README.md", "manifest.json", "recipe.yaml", "lock", "images.lock")
STEPS = (
    *("--max_steps", "20", "--save_steps", "5", "--save_strategy", "steps", "--eval_strategy", "no"),
    *("--load_best_model_at_end", "false"),
)
DISTURBED = "disturbed"  # folder of the results; always the same, as some files name it
REPO_ID = "org/pushed"
GRACE = 60  # seconds within which a command that got a signal has to end


def read_results(folder: Path) -> dict[str, Any]:
    """Return what a command wrote, by the names of the files, without times and paths."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name in LEFT_OUT or path.name.endswith(".lock"):
            continue
        is_record = path.suffix == ".json" and path.name not in ("config.json", "tokenizer.json")
        found[name] = _without_times(json.loads(path.read_bytes())) if is_record else path.read_bytes()
    return found


def _without_times(content: Any) -> Any:
    if isinstance(content, list):
        return [_without_times(one) for one in content]
    if isinstance(content, dict):
        kept = {
            name: one for name, one in content.items() if name not in MEANS and not any(part in name for part in TIMES)
        }
        return {name: _without_times(one) for name, one in kept.items()}
    return content


class Verb(NamedTuple):
    """Command that is killed.

    Attributes:
        arguments: Arguments of `mg-vtc`, for a folder of results.
        environment: Variables of its process, for that folder.
        read: Results in that folder.
        clear: Called before the first start, besides emptying the folder.
    """

    arguments: Callable[[Path], list[str]]
    environment: Callable[[Path], dict[str, str]] = lambda folder: {}
    read: Callable[[Path], dict[str, Any]] = read_results
    clear: Callable[[], None] = lambda: None


def make_release(folder: Path) -> None:
    """Draw a release in the layout of the image-level set of iMiGUE."""
    for label in (1, 2, 10):
        for clip in range(20):
            path = folder / "training" / str(label) / f"{clip:04}.0.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48), (20 * label, 10 * clip, 99)).save(path, quality=90)


def make_push(work: Path, hub: Hub) -> Verb:
    """Return the push of a run to a Hub."""

    def clear() -> None:
        hub.repos.clear()
        hub.objects.clear()

    return Verb(
        lambda folder: ["push", str(work / "run"), REPO_ID],
        lambda folder: client_environment({}, hub, folder / "home") | {"HF_HUB_OFFLINE": "0", "NO_PROXY": "*"},
        lambda folder: hub.files(REPO_ID) if REPO_ID in hub.repos else {},
        clear,
    )


def make_verbs(work: Path, hub: Hub) -> dict[str, Verb]:
    """Draw the images, train the run that others use, and return the commands."""
    if not (work / "made").exists():
        shutil.rmtree(work, ignore_errors=True)
        draw_images(work / "images")
        draw_images(work / "many", per_class=400)
        make_release(work / "release")
        with silence():
            train_run(TINY, train_dir=str(work / "images"), output_dir=str(work / "run"))
        (work / "made").touch()

    def train(folder: Path, images: str = "images") -> list[str]:
        where = ["--train_dir", str(work / images), "--output_dir", str(folder / "run")]
        return ["train", *flags_of(TINY), *where, "--resume_from_checkpoint", "auto"]

    def predict(folder: Path) -> list[str]:
        output = ["--output", str(folder / "predictions.csv"), "--overwrite", "--batch_size", "8"]
        return ["predict", str(work / "run"), str(work / "many"), *output]

    def export(folder: Path) -> list[str]:
        output = ["--output_dir", str(folder / "classifier"), "--overwrite"]
        return ["export", str(work / "run"), "--format", "classifier", *output]

    return {
        "train": Verb(train),
        "train with an empty image cache": Verb(
            lambda folder: [*train(folder, "many"), *STEPS],
            lambda folder: {"HF_DATASETS_CACHE": str(folder / "cache")},
        ),
        "prepare": Verb(lambda folder: ["prepare", "imigue", str(work / "release"), str(folder / "prepared")]),
        "predict": Verb(predict),
        "export": Verb(export),
        "push": make_push(work, hub),
    }


def environment_of(work: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a command."""
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache")}
    return dict(os.environ) | settings | changes


def empty(verb: Verb, folder: Path) -> None:
    """Remove the results of the command."""
    shutil.rmtree(folder, ignore_errors=True)
    verb.clear()


def run_command(
    server: CommandServer, verb: Verb, work: Path, number: signal.Signals | None = None, moment: float | None = None
) -> dict[str, Any]:
    """Run a command to its end, and return its exit code and screen.

    Args:
        server: Process that forks for it.
        verb: The command.
        work: Folder of the campaign.
        number: Signal that it gets; Ctrl-C goes to its whole group.
        moment: When it gets it, in seconds of its CPU time.
    """
    folder, screen = work / DISTURBED, work / "screen.txt"
    folder.mkdir(parents=True, exist_ok=True)
    process = server.start(verb.arguments(folder), screen)
    code = server.wait_for_work(process, math.inf if moment is None else moment)
    if code is None and number is not None:
        is_of_group = number in (signal.SIGINT, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it has just ended
            os.killpg(process, number) if is_of_group else os.kill(process, number)
        code = server.wait(GRACE)
        if code is None:
            os.killpg(process, signal.SIGKILL)
            server.wait()
    return {"code": code, "screen": screen.read_text(errors="replace")}


def try_case(
    server: CommandServer, verb: Verb, case: dict[str, Any], work: Path, expected: dict[str, Any], moment: float
) -> dict[str, Any]:
    """Kill a command at a moment and repeat it; return the outcome."""
    folder = work / DISTURBED
    empty(verb, folder)
    ended = run_command(server, verb, work, signal.Signals[case["signal"]], moment)
    again = {"code": 0, "screen": ""} if ended["code"] == 0 else run_command(server, verb, work)
    found = verb.read(folder)
    different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    outcome = "lost" if again["code"] != 0 else "silent" if different else "survived"
    words = {"ended": ended["screen"][-300:], "again": again["screen"][-300:], "different": different[:10]}
    traceback = "Traceback" in ended["screen"]
    return (
        case | {"moment": round(moment, 2), "outcome": outcome, "code": ended["code"], "traceback": traceback} | words
    )


def print_table(cases: Sequence[dict[str, Any]]) -> None:
    """Print the number of cases by command and signal."""
    print("| command | signal | tried | of these ended by themselves | survived | lost | silent | traceback |")
    print("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault((case["verb"], case["signal"]), []).append(case)
    for (verb, number), group in [*groups.items(), (("all", ""), list(cases))]:
        counts = Counter(case["outcome"] for case in group)
        finished = sum(case["code"] == 0 for case in group)
        outcomes = " | ".join(str(counts[one]) for one in OUTCOMES)
        tracebacks = sum(case["traceback"] for case in group)
        print(f"| {verb} | {number} | {len(group)} | {finished} | {outcomes} | {tracebacks} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=100, help="for each command and signal")
    parser.add_argument("--verbs", nargs="+", help="commands; default: all")
    parser.add_argument("--signals", nargs="+", default=SIGNALS, choices=SIGNALS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/kill"))
    options = parser.parse_args()
    work, record = (options.output_dir / "work").absolute(), options.output_dir / "cases.jsonl"
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with serving_hub() as hub:
        verbs = make_verbs(work, hub)
        names = options.verbs or list(verbs)
        wanted = [
            (verb, name, number) for number in range(options.moments) for verb in names for name in options.signals
        ]
        done = run_campaign(verbs, wanted, work, record, options.seed)
    found = [done[key] for key in sorted(wanted)]
    print_table(found)
    counts = Counter(case["outcome"] for case in found)
    write_summary(options.output_dir, **{outcome: counts[outcome] for outcome in OUTCOMES})


def run_campaign(
    verbs: dict[str, Verb], wanted: Sequence[tuple[str, str, int]], work: Path, record: Path, seed: int
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Try the cases, each a command, a signal and a number, that are not yet in the record; return all of them."""
    done = {(one["verb"], one["signal"], one["number"]): one for one in read_lines(record)}
    undisturbed: dict[str, tuple[CommandServer, dict[str, Any], float]] = {}
    with ExitStack() as servers, record.open("a", encoding="utf-8") as file:
        for key in (key for key in wanted if key not in done):
            verb, name, number = key
            if verb not in undisturbed:
                server = CommandServer(environment_of(work, **verbs[verb].environment(work / DISTURBED)))
                servers.callback(server.close)
                undisturbed[verb] = (server, *measure(server, verbs[verb], work))
            server, expected, seconds = undisturbed[verb]
            moment = random.Random(f"{seed} {verb} {name} {number}").uniform(0, seconds)
            case = {"verb": verb, "signal": name, "number": number}
            done[key] = try_case(server, verbs[verb], case, work, expected, moment)
            print(json.dumps(done[key]), file=file, flush=True)
    return done


def measure(server: CommandServer, verb: Verb, work: Path) -> tuple[dict[str, Any], float]:
    """Return the results and the CPU time, in seconds, of a command that nothing disturbs."""
    empty(verb, work / DISTURBED)
    ended = run_command(server, verb, work)
    if ended["code"] != 0:
        raise SystemExit(f"The undisturbed command failed: {ended['screen'][-2000:]}")
    return verb.read(work / DISTURBED), server.cpu_seconds


if __name__ == "__main__":
    main()
