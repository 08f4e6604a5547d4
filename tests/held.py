"""Random rules on layers' widths, and what they allow by trying everything."""

import itertools

from qcore.allocation import BitAllocation, LayerBits
from qcore.costs import costs_of
from qcore.rules.ties import PARTS

WIDTHS = (2, 3, 4, 8)


def rules_of(names, rng):
    """Ties that may cross and share layers, widths that may leave none, in any order."""
    rules = []
    for part in PARTS:
        for _ in range(rng.randrange(3)):
            tied = sorted(rng.sample(names, rng.choice((2, 3))), key=names.index)
            rules.append({"tie": tied, "part": part})
        for name in rng.choices(names, k=rng.randrange(len(names))):
            allowed = sorted(rng.sample(WIDTHS, rng.choice((1, 2, 3, 3))))
            rules.append({"pattern": name, "part": part, "allow": allowed})
    rng.shuffle(rules)
    return rules


def admits(rules, bits):
    """Whether bits by layer name keep the rules; of two on the same part of a layer the later."""
    last = {(r["pattern"], r["part"]): r["allow"] for r in rules if "allow" in r}
    return all(
        getattr(bits[name], part) in widths for (name, part), widths in last.items()
    ) and all(
        len({getattr(bits[name], r["part"]) for name in r["tie"]}) == 1 for r in rules if "tie" in r
    )


def every(model, table, rules):
    """(costs, damage) of every allocation that keeps the rules."""
    options = [LayerBits(w, a) for w in WIDTHS for a in WIDTHS]
    found = []
    for row in itertools.product(options, repeat=len(model.names)):
        bits = dict(zip(model.names, row, strict=True))
        if admits(rules, bits):
            damage = sum(table.score(name, each) for name, each in bits.items())
            found.append((costs_of(model, BitAllocation(bits)), damage))
    return found


def limits_of(names, found, rng):
    """Limits on these costs that some allocations keep, and now and then none does."""
    limits = {}
    for name in names:
        costs = sorted(costs[name] for costs, _ in found) or [1]
        low = rng.random() < 0.15
        limits[name] = 0.9 * costs[0] if low else float(rng.choice(costs[: 1 + len(costs) // 2]))
    return limits


def least(found, limits):
    """The least damage within limits; None where nothing fits."""
    fitting = [d for costs, d in found if all(costs[n] <= most for n, most in limits.items())]
    return min(fitting, default=None)
