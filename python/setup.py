"""Builds lastcall._native together with the part of liblastcall that it needs: `pip install
--no-build-isolation ./python`, or without that flag where pip has an index. CMakeLists.txt builds
the same in the project's own tree."""

import os
import re

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

# setuptools wants sources relative to this directory.
os.chdir(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = "../lib/lastcall"


def core_sources():
    """The library's own list, from its CMakeLists.txt: what is in lastcall_core and systemd."""
    with open(f"{LIBRARY}/CMakeLists.txt", encoding="utf-8") as file:
        text = file.read()
    sources = []
    for name in ("core", "systemd"):
        listed = re.search(rf"lastcall_library\({name}\s+SOURCES(.*?)(?:PRIVATE_)?HEADERS", text,
                           re.DOTALL)
        sources += [f"{LIBRARY}/{source}" for source in listed[1].split()]
    return sources


def version():
    with open("../CMakeLists.txt", encoding="utf-8") as file:
        return re.search(r"project\(lastcall VERSION ([0-9.]+)", file.read())[1]


ParallelCompile().install()
setup(
    version=version(),
    cmdclass={"build_ext": build_ext},
    ext_modules=[Pybind11Extension(
        "lastcall._native",
        sorted(["native/bound.cc", "native/module.cc", "native/stacks.cc", *core_sources()]),
        include_dirs=["../lib"],
        cxx_std=20,
        define_macros=[("LASTCALL_VERSION", f'"{version()}"')],
        extra_compile_args=["-fvisibility=hidden", "-flto"],
        extra_link_args=["-flto"],
    )],
)
