"""Recommendations: what to buy or rent for so many users, and what to serve on it."""

from deploy.recommend.evaluate import Option
from deploy.recommend.recommend import Recommendation, recommend
from deploy.recommend.request import RecommendRequest
from deploy.recommend.to_json import recommendation_to_json

__all__ = [
    "Option",
    "RecommendRequest",
    "Recommendation",
    "recommend",
    "recommendation_to_json",
]
