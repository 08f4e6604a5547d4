"""`python -m store`: searches without a browser, on the same database as the dashboard."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qcore.allocation import FLOAT_BITS, GROUPED_WIDTHS, parse_width
from qcore.costs import COSTS, costs_of, mean_weight_bits
from qcore.costs.formulas import MICROBITS
from qcore.costs.limits import read_limit
from qcore.costs.smaller import smaller_text
from qcore.data_folder import data_folder
from qcore.errors import InvalidBits, InvalidData, InvalidParams, NoDatabase, QcoreError
from qcore.float_check import far_off
from qcore.formats.config import parse_bits
from qcore.formats.exports import EXPORTS
from qcore.judges import judge_words, read_judge
from qcore.models.catalog import SHIPPED, default_data, judge_of, read_models
from qcore.rules.file import load_rules
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec, check_here, check_run, offered
from qcore.searches.usual_widths import usual_widths
from store import bounds
from store.database import Store, open_store
from store.database.locations import URL_VARIABLE
from store.health import command_keep, doctor, private
from store.jobs import (
    command_add_model,
    command_pace,
    command_planes,
    command_rules,
    pick,
    run_arguments,
    runtime,
    samples,
    verify,
)
from store.jobs.arguments import add_database, pair, row_number, write_file
from store.jobs.export import render
from store.jobs.output import REFUSED, ended_quietly, say, say_if_heard
from store.runs import listing, points, queue
from store.runs.lease import ON_DATA
from store.settings import read_settings
from store.workers import worker
from store.workers.attempt import ANYWAY

INTERRUPTED = 130
"""Exit code of a program that was ended by Ctrl+C."""

Command = Callable[[Store, argparse.Namespace], int]

FAILED = (
    "mend what it says, then go on from what is stored with `python -m store resume {run}`, or "
    "start it anew with other settings"
)
"""What to do about a run that failed."""


def _widths(words: str, inputs: bool = False) -> tuple[int, ...]:
    try:
        return tuple(parse_width(word, inputs) for word in words.split(","))
    except InvalidBits as error:
        raise InvalidParams(
            f"Bit-widths are whole numbers like 2,3,4,8, or fp16, bf16 and float; got {words!r}. "
            f"{error}"
        ) from None


def _pairs(items: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        key, value = pair(item)
        if key in found:
            raise InvalidParams(f"{key} is given twice: {found[key]} and {value}. Give it once.")
        found[key] = value
    return found


def _limits(
    items: Sequence[str], store: Store, model: str, activation: int = FLOAT_BITS
) -> dict[str, Any]:
    """Cost name to limit in the cost's unit; unknown costs are left to the run's check."""
    found = _pairs(items)
    written = any(isinstance(value, str) for value in found.values())
    facts = points.model_facts(store, model) if written else None
    return {
        name: read_limit(store.costs[name], value, facts, activation)
        if isinstance(value, str) and name in store.costs
        else value
        for name, value in found.items()
    }


def _weight_bits(store: Store, arguments: argparse.Namespace) -> tuple[int, ...]:
    """The widths that were asked for, or those that are usual for such a network."""
    if arguments.weight_bits is not None:
        asked = _widths(arguments.weight_bits)
    else:
        model = arguments.model
        asked = usual_widths(judge_of(model), points.model_facts(store, model))
    return offered(arguments.search, asked)


def _rules(path: str) -> tuple[Rule, ...]:
    with bounds.as_set():
        return load_rules(path)


def command_run(store: Store, arguments: argparse.Namespace) -> int:
    """Queue a run, and unless detached work on it here."""
    activation_bits = _widths(arguments.activation_bits, inputs=True)
    limits = _limits(arguments.limit, store, arguments.model, max(activation_bits))
    known = arguments.model in read_models()
    arguments.data = arguments.data or (default_data(arguments.model) if known else SHIPPED)
    spec = RunSpec(
        model=arguments.model,
        data=arguments.data,
        search=arguments.search,
        params=_pairs(arguments.param),
        limits=limits,
        weight_bits=_weight_bits(store, arguments),
        activation_bits=activation_bits,
        pin_first_last=None if arguments.pin is None else _widths(arguments.pin)[0],
        rules=_rules(arguments.rules) if arguments.rules else (),
        seed=arguments.seed,
        calibration_images=arguments.calibration_images,
        search_images=arguments.search_images,
        objective=arguments.objective,
        reported=arguments.reported,
        tuning=arguments.tuning,
        device=arguments.device,
        quantizer=arguments.quantizer,
        rounding=arguments.rounding,
        images_seed=arguments.seed if arguments.images_seed is None else arguments.images_seed,
        anyway=arguments.anyway,
        correction=arguments.correction,
    )
    if arguments.minutes is not None:
        spec = command_pace.in_minutes(store, spec, arguments.minutes, say)
    check_run(spec, points.model_facts(store, spec.model), store.costs)
    words = _float_note(store, spec)
    if words and not spec.anyway:
        raise InvalidData(f"{words} {ANYWAY}")
    if arguments.detach:
        check_here(spec)
        say(f"run {queue.create_run(store, spec, arguments.name)} queued")
        return 0
    read_settings()  # before anything is stored: a worker needs them all
    run_id = queue.create_run(store, spec, arguments.name, host=queue.host_name(store))
    say_if_heard(f"run {run_id} started")
    for cost, limit in limits.items():
        say_if_heard(f"{cost} at most {limit:,.10g} {store.costs[cost].unit}")
    code = worker.main(store.url, run_id, 1, piped=False)
    _summary(store, run_id)
    return code


def _float_note(store: Store, spec: RunSpec) -> str:
    """What is wrong with the float network, as far as it was ever measured on these images."""
    model = points.model_facts(store, spec.model)
    point = points.float_point(store, spec.model, spec.images)
    if model is None or point is None:
        return ""
    return far_off(point.test or point.search, model.classes)


def _summary(store: Store, run_id: int) -> None:
    found = queue.run(store, run_id)
    say(f"run {run_id} {found.state}: {found.error or found.message}")
    if found.state == "failed":
        say(f"note: {FAILED.format(run=run_id)}")
    spec = points.model_spec(store, found.spec.model)
    if spec is None:
        return
    note = _float_note(store, found.spec)
    if note and found.state != "failed":
        say(f"note: {note}")
    for event in queue.events(store, run_id, [ON_DATA]):
        say(f"note: {event.text}")
    if lost := listing.left_out(store, found):
        say(f"note: {lost} `python -m store doctor` says why")
    judge = read_judge(found.spec.judge)
    head = "test accuracy" if judge.name == "classes" else f"test score ({judge_words(judge)})"
    found_points = points.points_of(store, [run_id])
    reported = [(p.id, p.point, p.point.test) for p in found_points if p.point.test is not None]
    if not reported:
        if found.state != "failed":
            say("note: none of its points was tested")
        return
    say(f"point  mean weight bits  weight_bytes  {head}")
    for number, point, test in reported:
        measure = pick.measure_of(judge, test)
        low, high = measure.span(test.interval)
        cost = costs_of(spec, point.allocation)["weight_bytes"]
        smaller = smaller_text(COSTS["weight_bytes"], spec, cost)
        name = "" if judge.name == "classes" else f"{measure.name} "
        if any(bits.weight in GROUPED_WIDTHS for bits in point.allocation.values()):
            whole = costs_of(spec, point.allocation)["microbits_per_weight"] / MICROBITS
            smaller += f"; {whole:.2f} bits with scales"
        say(
            f"{number:5}  {mean_weight_bits(spec, point.allocation):16.2f}  {cost:12,}  "
            f"{name}{measure.write(test.headline, 2)} ({low:.2f} to {high:.2f}, "
            f"n = {test.n:,}) {point.stage}; {smaller}"
        )


def command_list(store: Store, arguments: argparse.Namespace) -> int:
    """List every run; one that cannot be read with the reason."""
    for line in listing.listed(store):
        say(line)
    return 0


def command_watch(store: Store, arguments: argparse.Namespace) -> int:
    """Follow a run until it ends."""
    shown = ""
    while True:
        found = queue.run(store, arguments.run)
        line = (
            f"{found.state} {found.step}/{found.total} {found.evaluations} points {found.message}"
        )
        if line != shown:
            say(line)
            shown = line
        if found.state in queue.ENDED:
            _summary(store, arguments.run)
            return 0 if found.state == "done" else 1
        time.sleep(0.5)


def command_pick(store: Store, arguments: argparse.Namespace) -> int:
    """Name each method's smallest point that is shown to lose at most so much; 1 for none."""
    limits = _limits(arguments.limit, store, arguments.model)
    runs = pick.comparable(store, arguments.model, arguments.run)
    found = pick.smallest(
        store,
        runs,
        arguments.within,
        unit=arguments.unit,
        cost=arguments.cost,
        limits=limits,
    )
    judge = read_judge(runs[0].spec.judge)
    firsts = [stored.point.test for stored in points.points_of(store, [runs[0].id])]
    tested = next((scores for scores in firsts if scores is not None), None)
    lost = "points" if tested is None else pick.measure_of(judge, tested).difference
    asked = f"at most {arguments.within:g} {lost if arguments.unit == 'points' else judge.unit}"
    if not found:
        say(
            f"No tested point of {arguments.model} is shown to lose {asked} with 95 % confidence; "
            "accept more, or have more points tested (--reported of a run)."
        )
        return 1
    say(f"Smallest that lose {asked}, all methods together with 95 % confidence:")
    say(f"point    run  {arguments.cost:>14}  {lost} lost, 95 % interval  promised  method")
    facts = points.model_facts(store, arguments.model)
    for each in found:
        told = "none: it has no end"
        if each.loss is not None:
            low, high = each.loss.interval
            told = f"{each.loss.points:.2f} ({low:.2f} to {high:.2f})"
        smaller = facts and smaller_text(store.costs[arguments.cost], facts, each.cost)
        say(
            f"{each.stored.id:5}  {each.stored.run_id:5}  {each.cost:14,}  {told:>26}  "
            f"{each.bound:8.3g}  {each.method}{f'; {smaller}' if smaller else ''}"
        )
    say(f"Take it away: python -m store export --point {found[0].stored.id} --format json")
    return 0


def command_export(store: Store, arguments: argparse.Namespace) -> int:
    """Write a point's configuration in one of EXPORTS, and what running the file showed."""
    point = arguments.point
    if point is None or arguments.run is not None:
        point = _best_point(store, arguments.run, point)
    text = points.config_text(store, point)
    if text is None:
        raise InvalidParams(
            f"There is no reported point {point}; `python -m store watch RUN` lists them."
        )
    made = render(parse_bits(text, store.costs), arguments.format)
    path = arguments.out or Path(f"point{point}{EXPORTS[arguments.format].suffix}")
    write_file(path, made.content)
    say(str(path))
    if set(made.report) - {"format"}:
        say(json.dumps(dict(made.report), indent=1))
    return 0


def _best_point(store: Store, run: int | None, wanted: int | None) -> int:
    if run is None:
        raise InvalidParams("Say which run, or which point: export RUN, or export --point N.")
    queue.run(store, run)
    ready = [p for p in points.points_of(store, [run]) if p.has_config]
    if wanted is not None:
        ready = [p for p in ready if p.id == wanted]
    if not ready:
        raise InvalidParams(
            f"Run {run} has no such reported point; `python -m store watch` lists them."
        )
    # by what the search minimised, on its own split: the test split is never used to choose
    loss = queue.run(store, run).spec.objective == "loss"
    return min(ready, key=lambda p: p.point.search.loss or 0 if loss else p.point.search.kl).id


def _asked(ask: Callable[[Store, int], None]) -> Command:
    def command(store: Store, arguments: argparse.Namespace) -> int:
        ask(store, arguments.run)
        found = queue.run(store, arguments.run)
        waits = found.state == "running" and found.want != "run"
        say(f"run {found.id}: {found.state}{f', asked to {found.want}' if waits else ''}")
        return 0

    return command


def command_worker(store: Store, arguments: argparse.Namespace) -> int:
    """Execute one attempt; called by the supervisor."""
    return worker.main(store.url, arguments.run, arguments.attempt)


def command_verify(store: Store, arguments: argparse.Namespace) -> int:
    """Measure a saved configuration again; exit code 1 where it does not do what it says."""
    found = verify.verify(store, arguments.configuration, bounds.as_set)
    say(f"configuration {arguments.configuration} {verify.words(found)}")
    return 0 if found["passed"] else 1


def command_samples(store: Store, arguments: argparse.Namespace) -> int:
    """Run a configuration on search samples, and keep what both networks answer."""
    text = samples.content(store, arguments.configuration, arguments.point)
    for line in samples.told(*samples.compute(store, text, say, bounds.as_set)):
        say(line)
    return 0


def command_runtime(store: Store, arguments: argparse.Namespace) -> int:
    """Run the network a run has trained at each of its bits, and keep what it answers."""
    for line in runtime.told(*runtime.compute(store, arguments.run, say, bounds.as_set)):
        say(line)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m store", description=__doc__)
    commands = top.add_subparsers(required=True)
    run = commands.add_parser("run", help="start a search")
    run.set_defaults(function=command_run, creates=True)
    run_arguments.add_arguments(run)
    commands.add_parser("list", help="list runs").set_defaults(function=command_list)
    top.set_defaults(unopened=None, creates=False, bare=False)
    commands.add_parser("doctor", help="check the installation").set_defaults(
        unopened=lambda words: doctor.command(words.database, say)
    )
    keeping = command_keep.add_commands(commands)
    keeping["backup"].set_defaults(
        function=lambda store, words: command_keep.command_backup(store, words, say)
    )
    keeping["restore"].set_defaults(unopened=lambda words: command_keep.command_restore(words, say))
    keeping["repair"].set_defaults(unopened=lambda words: command_keep.command_repair(words, say))
    named: tuple[tuple[str, Command, str], ...] = (
        ("watch", command_watch, "follow a run until it ends"),
        ("pause", _asked(queue.request_pause), "pause when the batch in hand is measured"),
        ("resume", _asked(queue.resume), "go on with a paused run, or try a failed one again"),
        ("stop", _asked(queue.stop_now), "pause at once; what is in hand is lost"),
        ("cancel", _asked(queue.request_cancel), "end a run and keep what it measured"),
        ("runtime", command_runtime, "what a network that switches answers at each of its bits"),
    )
    for name, function, explanation in named:
        command = commands.add_parser(name, help=explanation)
        command.set_defaults(function=function)
        command.add_argument("run", type=row_number)
    command_planes.add_command(commands).set_defaults(
        function=lambda store, words: command_planes.command_planes(store, words, say)
    )
    command_pace.add_command(commands).set_defaults(
        function=lambda store, words: command_pace.command_pace(store, words, say), creates=True
    )
    picking = commands.add_parser("pick", help="the smallest that loses at most so much")
    picking.set_defaults(function=command_pick)
    picking.add_argument("--within", type=float, required=True, help="the loss that is accepted")
    picking.add_argument(
        "--unit",
        choices=pick.UNITS,
        default=pick.UNITS[0],
        help="points: of the score, in the unit of the run's judge, percent points of accuracy for "
        "classes; nats: of its divergence, in its unit",
    )
    picking.add_argument("--model", default=run_arguments.DEFAULTS.model)
    picking.add_argument("--cost", default="weight_bytes", help="what is to be small")
    picking.add_argument(
        "--limit", action="append", default=[], metavar="COST=VALUE", help=run_arguments.LIMITS
    )
    picking.add_argument(
        "--run", type=row_number, action="append", default=[], help="only this run; may be repeated"
    )
    export = commands.add_parser("export", help="write a configuration")
    export.set_defaults(function=command_export)
    export.add_argument("run", type=row_number, nargs="?", help="not needed with --point")
    export.add_argument(
        "--point", type=row_number, help="default: the best reported one by the search's objective"
    )
    export.add_argument("--format", choices=list(EXPORTS), default="json")
    export.add_argument("--out", type=Path)
    check = commands.add_parser("verify", help="measure a saved configuration again")
    check.set_defaults(function=command_verify)
    check.add_argument("configuration", type=row_number, help="its number on the Configs page")
    seeing = commands.add_parser("samples", help="what both networks answer to single samples")
    seeing.set_defaults(function=command_samples)
    seeing.add_argument("configuration", type=row_number, nargs="?", help="not needed with --point")
    seeing.add_argument("--point", type=row_number)
    adding = commands.add_parser("add-model", help="add a network of your own")
    command_add_model.add_arguments(adding)
    adding.set_defaults(
        function=lambda store, words: command_add_model.command_add_model(store, words, say),
        creates=True,
    )
    ruling = commands.add_parser("rules", help="what rules match, and what ties to propose")
    command_rules.add_arguments(ruling)
    ruling.set_defaults(
        function=lambda store, words: command_rules.command_rules(store, words, _widths, say),
        bare=True,
    )
    attempt = commands.add_parser("worker", help="used by the server")
    attempt.set_defaults(function=command_worker)
    attempt.add_argument("run", type=row_number)
    attempt.add_argument("attempt", type=row_number)
    add_database(top, commands.choices.values())
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; our errors are one plain line and exit code 2."""
    arguments = parser().parse_args(words)
    try:
        if arguments.unopened is not None:  # for a database that cannot be opened, too
            return int(arguments.unopened(arguments))
        return int(arguments.function(_opened(arguments), arguments))
    except QcoreError as error:
        return _refused(str(error))
    except UnicodeEncodeError as error:
        shown = str(error.object).encode("utf-8", "backslashreplace").decode()
        return _refused(f"{shown[:200]!r} is not written in UTF-8 and cannot be stored.")
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        return _refused(f"The system refused{place}: {error.strerror or error}.")
    except KeyboardInterrupt:
        return INTERRUPTED


def _opened(arguments: argparse.Namespace) -> Store | None:
    """The database; None where a command can do without one and nobody named one."""
    try:
        store = open_store(arguments.database, create=arguments.creates)
        if store.folder == data_folder() and (words := private.shut(store.folder)):
            sys.stderr.write(f"note: {words}\n")
        return store
    except NoDatabase:
        if arguments.bare and not (arguments.database or os.environ.get(URL_VARIABLE)):
            return None
        raise


def _refused(words: str) -> int:
    sys.stderr.write(words.encode("utf-8", "backslashreplace").decode() + "\n")
    return REFUSED


if __name__ == "__main__":
    os.umask(0o077)  # databases, logs and results are their owner's
    sys.exit(ended_quietly(main))
