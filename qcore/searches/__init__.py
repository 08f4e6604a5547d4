"""Every way to propose allocations, one file each, listed in SEARCHES. Torch-free to import."""

from qcore.searches import cmaes, exact, given, gradfreebits, greedy, portfolio, sampled, uniform
from qcore.searches.base import Search

SEARCHES: dict[str, Search] = {
    search.name: search
    for search in (
        uniform.SEARCH,
        sampled.SEARCH,
        greedy.SEARCH,
        exact.SEARCH,
        portfolio.SEARCH,
        cmaes.SEARCH,
        gradfreebits.SEARCH,
        given.SEARCH,
    )
}
