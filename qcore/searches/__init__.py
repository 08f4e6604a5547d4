"""Every way to propose allocations, one file each, listed in SEARCHES. Torch-free to import."""

from qcore.searches import exact, given, greedy, portfolio, sampled, uniform
from qcore.searches.base import Search

SEARCHES: dict[str, Search] = {
    search.name: search
    for search in (
        uniform.SEARCH,
        sampled.SEARCH,
        greedy.SEARCH,
        exact.SEARCH,
        portfolio.SEARCH,
        given.SEARCH,
    )
}
