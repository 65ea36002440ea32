"""The tables of docs/files.md: what `tomopilot inspect` finds in files and folders.

    python benchmarks/inspected.py ../shared/data/native/* ../shared/data/measured/*

A file is named as on the command line, such as FOLDER:/2 or FILE.npz:/parallel_sinogram.
"""

import sys
from pathlib import Path

from tomopilot.cli.inspect import about_images, about_scan
from tomopilot.files.reading import InputFileError, NotAScan

SCAN = ("format", "values", "projections", "angles", "bin", "axis", "repeated angles", "noise")
IMAGES = ("format", "images", "type", "values", "pixel", "remarks")

scans: list[list[object]] = []
images: list[list[object]] = []
refused: list[list[object]] = []
for source in sys.argv[1:]:
    name = source[len(str(Path(source.partition(":/")[0]).parent)) + 1 :]
    try:
        facts = about_scan(source, None, None, None, None)
        scans.append([name, *map(facts.get, SCAN)])
    except InputFileError as no_scan:
        try:
            facts = about_images(source)
            images.append([name, *map(facts.get, IMAGES)])
        except InputFileError as no_images:
            why = no_images if isinstance(no_scan, NotAScan) else no_scan
            refused.append([name, str(why).removeprefix(f"{source}: ")])
for heads, rows in ((SCAN, scans), (IMAGES, images), (("why not",), refused)):
    for line in (["file", *heads], ["---"] * (1 + len(heads)), *rows):
        print("|", " | ".join("" if cell is None else str(cell) for cell in line), "|")
    print()
