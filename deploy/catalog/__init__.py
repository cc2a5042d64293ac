"""What is true of the world: images, models, GPUs and profiles, each with its source."""

from deploy.catalog.catalog import Catalog, load_catalog
from deploy.catalog.find_gpus import find_gpu, parse_gpus
from deploy.catalog.gpus import DenseTflops, Gpu
from deploy.catalog.images import BaseImage, Image, ImageBuild
from deploy.catalog.models import Model
from deploy.catalog.profiles import profile_names, with_profile

__all__ = [
    "BaseImage",
    "Catalog",
    "DenseTflops",
    "Gpu",
    "Image",
    "ImageBuild",
    "Model",
    "find_gpu",
    "load_catalog",
    "parse_gpus",
    "profile_names",
    "with_profile",
]
