"""Container images: which one each service uses, and how one is built here."""

from deploy.images.archive import ImageArchive, read_archive
from deploy.images.build_plan import BaseBuildPlan, ImageBuildPlan, make_build_plan
from deploy.images.builder import build_images
from deploy.images.need import ImageNeed, archive_path, image_need
from deploy.images.registries import RegistryAccess, make_registries
from deploy.images.resolve import ImageUse, resolve_images
from deploy.images.save_all import save_all
from deploy.images.saved import engine_problem, image_size, save_image, was_built

__all__ = [
    "BaseBuildPlan",
    "ImageArchive",
    "ImageBuildPlan",
    "ImageNeed",
    "ImageUse",
    "RegistryAccess",
    "archive_path",
    "build_images",
    "engine_problem",
    "image_need",
    "image_size",
    "make_build_plan",
    "make_registries",
    "read_archive",
    "resolve_images",
    "save_all",
    "save_image",
    "was_built",
]
