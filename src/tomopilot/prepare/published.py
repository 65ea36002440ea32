"""The archives of the paper, by name: fetched where that may be done, else how to get them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A published archive: what it is, where it lies, and whose."""

    title: str
    page: str
    steps: str  # how to get its files by hand
    licence: str = "see its page"
    files: Mapping[str, str] = field(default_factory=dict)  # zip -> checksum; the last one holds validation
    place: str = ""  # address that their names follow
    gigabytes: float = 0
    unit: str | None = None
    pixel: float | None = None  # metres

    def fetch(self, folder: Path) -> list[list[str]]:
        """Downloads and unpacks what is not yet in the folder; the files of each zip.

        Raises ValueError with the steps where nobody may do that for the user, and OSError offline.
        """
        if not self.files:
            raise ValueError(f"{self.title} is not downloaded by this command: {self.steps}")
        return [self._unpacked(name, checksum, folder) for name, checksum in self.files.items()]

    def _unpacked(self, name: str, checksum: str, folder: Path) -> list[str]:
        try:
            import pooch
            from requests.exceptions import RequestException
        except ImportError as error:
            raise ValueError("downloads need pooch: pip install 'tomopilot[download]'") from error
        url, unzip = f"{self.place}{name}?download=1", pooch.Unzip(extract_dir=f"{name}.files")
        try:
            return sorted(pooch.retrieve(url, checksum, name, folder, processor=unzip))
        except RequestException as error:
            raise OSError(
                f"{url} cannot be reached ({type(error).__name__}): without internet, put the file into "
                f"{folder} by hand, then call again"
            ) from None
        except ValueError:  # of pooch
            raise OSError(
                f"{folder / name} is not the published file (its checksum differs): remove it, and call again"
            ) from None


PUBLISHED = {
    "lodopab": Published(
        "LoDoPaB-CT",
        "https://zenodo.org/records/3384092",
        "",
        licence="CC BY 4.0",
        files={
            "ground_truth_train.zip": "md5:f06829ccf2b9bb817abd093ce490b2c7",
            "ground_truth_validation.zip": "md5:666c36f403734842f14ca8811a63b8f7",
        },
        place="https://zenodo.org/records/3384092/files/",
        gigabytes=17.5,
        unit="linear attenuation / 81.35858 per metre (water 0.246, air 0)",
        pixel=0.26 / 362,
    ),
    "pyxl": Published(
        "The chip of the paper (PyXL)",
        "https://zenodo.org/records/2657340",
        "its file names are not known here. Open https://zenodo.org/records/2657340, read its licence, save "
        "the reconstructed volume, and call "
        "`tomopilot prepare VOLUME --crop 256 --every 4 --licence ... --out OUT`",
    ),
    "composite": Published(
        "The composite of the paper (Auenhammer et al.)",
        "https://zenodo.org/records/3830790",
        "its file names are not known here. Open https://zenodo.org/records/3830790, read its licence, save "
        "the volumes, and call "
        "`tomopilot prepare VOLUMES --crop 256 --licence ... --out OUT`",
    ),
    "fastmri": Published(
        "fastMRI",
        "https://fastmri.med.nyu.edu",
        "its licence must be accepted first. Fill in the form at https://fastmri.med.nyu.edu, download "
        "knee_singlecoil_train and knee_singlecoil_val by the links that are mailed to you, unpack them, and "
        "call `tomopilot prepare singlecoil_train/*.h5 --validation 'singlecoil_val/*.h5' --crop whole "
        "--range 0,1 --out OUT`",
    ),
}
