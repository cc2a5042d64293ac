"""Recommendations: what to buy or rent for so many users, and what to serve on it."""

from deploy.plan.recommend.evaluate import Option
from deploy.plan.recommend.recommend import Recommendation, recommend
from deploy.plan.recommend.request import RecommendRequest
from deploy.plan.recommend.to_json import recommendation_to_json

__all__ = [
    "Option",
    "RecommendRequest",
    "Recommendation",
    "recommend",
    "recommendation_to_json",
]
