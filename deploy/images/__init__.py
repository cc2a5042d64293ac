"""Container images: which one each service uses, and how one is built here."""

from deploy.images.build_plan import BaseBuildPlan, ImageBuildPlan, make_build_plan
from deploy.images.builder import build_images
from deploy.images.resolve import ImageUse, resolve_images
from deploy.images.saved import engine_problem, save_image, was_built

__all__ = [
    "BaseBuildPlan",
    "ImageBuildPlan",
    "ImageUse",
    "build_images",
    "engine_problem",
    "make_build_plan",
    "resolve_images",
    "save_image",
    "was_built",
]
