"""What is true of the world: images, models, licences, GPUs, prices and profiles."""

from deploy.catalog.catalog import Catalog, load_catalog
from deploy.catalog.find_gpus import find_gpu, parse_gpus
from deploy.catalog.gpus import DenseTflops, Gpu
from deploy.catalog.images import BaseImage, Image, ImageBuild
from deploy.catalog.licences import DEFAULT_USE, Licence, Permission, Use, UserThreshold
from deploy.catalog.mig import MigCard, MigInstance, in_order, place_instances
from deploy.catalog.models import FillInTheMiddle, Model, Origin, Variant
from deploy.catalog.profiles import profile_names, with_profile
from deploy.catalog.providers import Offer, Provider

__all__ = [
    "DEFAULT_USE",
    "BaseImage",
    "Catalog",
    "DenseTflops",
    "FillInTheMiddle",
    "Gpu",
    "Image",
    "ImageBuild",
    "Licence",
    "MigCard",
    "MigInstance",
    "Model",
    "Offer",
    "Origin",
    "Permission",
    "Provider",
    "Use",
    "UserThreshold",
    "Variant",
    "find_gpu",
    "in_order",
    "load_catalog",
    "parse_gpus",
    "place_instances",
    "profile_names",
    "with_profile",
]
