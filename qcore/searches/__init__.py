"""Every way to propose allocations, one file each, listed in SEARCHES. Torch-free to import."""

from qcore.search import Search
from qcore.searches import (
    bitmixer,
    cmaes,
    dq,
    exact,
    given,
    gradfreebits,
    greedy,
    metanetwork,
    mirror,
    nsga2,
    portfolio,
    random_search,
    spnets,
    uniform,
)

SEARCHES: dict[str, Search] = {
    search.name: search
    for search in (
        uniform.SEARCH,
        random_search.SEARCH,
        greedy.SEARCH,
        exact.SEARCH,
        portfolio.SEARCH,
        cmaes.SEARCH,
        gradfreebits.SEARCH,
        spnets.SEARCH,
        bitmixer.SEARCH,
        metanetwork.SEARCH,
        dq.SEARCH,
        mirror.SEARCH,
        given.SEARCH,
        nsga2.SEARCH,
    )
}
