"""The hub that models come from: which files a repository has, and which an engine loads."""

from deploy.hub.answers import Answer, hub_problem, read_answer
from deploy.hub.choose import needed_files
from deploy.hub.listing import HubFile, Listing, parse_listing

__all__ = [
    "Answer",
    "HubFile",
    "Listing",
    "hub_problem",
    "needed_files",
    "parse_listing",
    "read_answer",
]
