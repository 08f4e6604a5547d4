"""`python -m store rules`: what rules match on a network, and what its wiring proposes."""

import argparse
from collections.abc import Callable

from qcore.allocation import width_text
from qcore.costs.budget import Budget
from qcore.errors import InvalidParams
from qcore.problem import Problem
from qcore.rules.file import dump_rules, load_rules
from qcore.rules.proposals import proposals
from qcore.rules.resolve import paired, resolve
from qcore.rules.rule import pairs_text
from qcore.rules.ties import WORDS
from qcore.solvers.space import space_of
from store import bounds
from store.database import Store
from store.runs import points


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    command.add_argument("file", nargs="?", help="YAML or JSON; none lists proposals")
    command.add_argument("--model", default="resnet8")
    command.add_argument("--weight-bits", default="2,3,4,8")
    command.add_argument("--activation-bits", default="32")


def command_rules(
    store: Store | None,
    arguments: argparse.Namespace,
    widths: Callable[[str], tuple[int, ...]],
    say: Callable[[str], None],
) -> int:
    """Tell, rule by rule, which layers are meant and what they may have; or propose rules.

    Raises:
        InvalidParams: the network is not known, or a rule cannot hold; says which and why.
    """
    model = points.model_facts(store, arguments.model)
    if model is None:
        raise InvalidParams(
            f"The layers of {arguments.model!r} are not known yet. Add the network first, or run "
            "one search on it."
        )
    if arguments.file is None:
        found = proposals(model)
        for each in found:
            say(f"# {each.title}. {each.reason}")
            say(dump_rules(each.rules).rstrip())
        if not found:
            say(f"# The wiring of {model.name} proposes nothing.")
        return 0
    with bounds.as_set():
        rules = load_rules(arguments.file)
    given = widths(arguments.weight_bits), widths(arguments.activation_bits)
    resolved = resolve(rules, model.layers, *given)
    for number, (rule, names, lost) in enumerate(
        zip(rules, resolved.matches, resolved.overruled, strict=True), start=1
    ):
        count = f"{len(names)} layer{'' if len(names) == 1 else 's'}"
        say(f"{number}. {rule.layers}: {count}: {', '.join(names)}")
        if lost:
            say(f"   overruled by a later rule for {', '.join(lost)}")
    for tie in resolved.ties:
        say(f"tied {WORDS[tie.part]}: {', '.join(tie.layers)}")
    for name, options in resolved.options.items():
        if paired(options):
            say(f"{name}: {pairs_text(options)}")
            continue
        parts = [sorted({b.weight for b in options}), sorted({b.activation for b in options})]
        say(f"{name}: " + " / ".join(",".join(map(width_text, part)) for part in parts))
    space = space_of(Problem(model, resolved.options, Budget({}), ties=resolved.ties))
    least, most = (int(price[0] + space.fixed[0]) for price in (space.cheapest, space.dearest))
    say(
        f"weights: from {least:,} to {most:,} B ({least / 1024:.1f} to {most / 1024:.1f} KiB); a "
        "smaller --limit weight_bytes cannot be kept"
    )
    return 0
