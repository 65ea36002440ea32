import shutil

import numpy as np
import pytest
from samples import make_scan, save_dataexchange, save_nxtomo

from tomopilot.files.nexus import write_scan
from tomopilot.files.reading import InputFileError
from tomopilot.raw.door import read_measured


def test_content_counts_before_the_ending(tmp_path):
    np.savez(tmp_path / "a.npz", sinogram=np.ones((3, 4)), angles_deg=[0.0, 60.0, 120.0])
    save_nxtomo(tmp_path / "a.nxs")
    save_dataexchange(tmp_path / "a.h5")
    for name, ending in (("a.npz", ".h5"), ("a.nxs", ".tif"), ("a.h5", "")):
        other = tmp_path / f"copy{ending}"
        shutil.copy(tmp_path / name, other)
        assert read_measured(str(other)).format == read_measured(str(tmp_path / name)).format


def test_our_own_scans(tmp_path):
    scan = make_scan(n=5)
    write_scan(tmp_path / "scan.h5", scan)
    raw = read_measured(str(tmp_path / "scan.h5"))
    assert not raw.counts and raw.axis == 3.0
    np.testing.assert_allclose(raw.projections.read()[:, 0], scan.projections)
    np.testing.assert_allclose(raw.angles, np.deg2rad(scan.angles_deg))


def test_whether_values_are_counts_may_be_stated(tmp_path):
    path = str(save_nxtomo(tmp_path / "scan.nxs"))
    assert read_measured(path).counts and not read_measured(path, counts=False).counts


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"II*\0", b"\x89HDF\r\n\x1a\n"])
def test_no_scan(tmp_path, content):
    (tmp_path / "scan.nxs").write_bytes(content)
    with pytest.raises(InputFileError, match=r"scan\.nxs: "):
        read_measured(str(tmp_path / "scan.nxs"))


@pytest.mark.parametrize("name", ["absent.nxs", "absent.nxs:/entry", "bad\0name"])
def test_no_file(tmp_path, name):
    with pytest.raises(InputFileError, match="does not exist"):
        read_measured(str(tmp_path / name))


NOT_SCANS = {
    "nxtomo_24888.nxs": "leads to another file",
    "ct_small.nii.gz": "as no scan does; expected NXtomo",
    "multipage_uint8_128x128x128.tif": "expected a table beside the images",
    "mri_kspace_8coil_undersampled.npy": "as no scan does",
    "zarr/mni152.ome.zarr": "holds no TIFF files",
    "dicom_ct": "holds no TIFF files",
}


@pytest.mark.parametrize("name", NOT_SCANS)
def test_native_files_that_cannot_be_read_as_scans(data_folder, name):
    with pytest.raises(InputFileError, match=NOT_SCANS[name]):
        read_measured(str(data_folder / "native" / name))
