"""Describe this machine: what ``alexnet-repro doctor`` prints."""

import shutil
from collections.abc import Callable

import torch

from ..common import paths
from ..common.errors import UserError
from ..common.machine import cores
from ..experiments import manifest
from ..records.store import Store
from . import provenance
from .data import cifar10, tiny_imagenet


def rows(store: Store) -> dict[str, str]:
    """The lines to print, by name: checkout, versions, processor, GPUs, disk, data sets, and the number of runs."""
    commit, clean = provenance.commit()
    changes = "" if clean else ", with uncommitted changes: runs made now cannot be published"
    here = provenance.place("cpu")
    gpus = [_gpu(f"cuda:{i}") for i in range(torch.cuda.device_count())]

    def cifar() -> str:
        cifar10.cifar10(fetch=False)
        return "here and verified"

    def tiny() -> str:
        tiny_imagenet.load()
        return "here and verified"

    def imagenet() -> str:
        places = [manifest.folder(size) for size in manifest.SIZES]
        found = [place for place in places if place.is_dir()] or places[-1:]
        return "; ".join(f"{manifest.read(each).parts['train'].images:,} training images in {each}" for each in found)

    def runs() -> str:
        return f"{sum(1 for _ in store.records())} runs of your own, {len(store.published())} published"

    free = shutil.disk_usage(paths.repository()).free
    return {
        "checkout": f"{paths.repository()}, commit {commit[:12]}{changes}",
        "versions": ", ".join(f"{name} {version}" for name, version in provenance.versions().items()),
        "processor": f"{provenance.device_name('cpu')}, {cores()} cores: {cores()} runs at once",
        "computes": f"{here['processor']}; torch uses {here['instructions']}, {'' if here['onednn'] else 'no '}oneDNN",
        "GPUs": f"{', '.join(gpus)}: --device cuda trains as many runs on each as gain by it"
        if gpus
        else "Apple's: --device mps, which was never tried"
        if torch.backends.mps.is_available()
        else "none: train on the CPU",
        "disk": f"{free / 1e9:.0f} GB free",
        "CIFAR-10": _or_why(cifar),
        "Tiny ImageNet": _or_why(tiny),
        "ImageNet": _or_why(imagenet),
        "store": _or_why(runs),
    }


def _gpu(device: str) -> str:
    here = provenance.place(device)
    return f"{provenance.device_name(device)} (capability {here['capability']}, driver {here['driver'] or 'unknown'})"


def _or_why(find: Callable[[], str]) -> str:
    """The result of ``find``, or its error message, so that one fault does not hide the other lines."""
    try:
        return find()
    except UserError as error:
        return str(error)
