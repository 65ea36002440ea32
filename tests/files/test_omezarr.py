import json
import shutil
import sys

import numpy as np
import pytest
import torch
from samples import STACK, assert_read, expected, filling, refusal, save_ome, save_zarr

from tomopilot.files.images import count_images, read_images

zarr = pytest.importorskip("zarr")


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("version", [2, 3])
def test_arrays_of_both_versions(tmp_path, version, dtype):
    array = filling(STACK, dtype)
    assert_read(save_zarr(tmp_path / "a.zarr", array, version=version), array)


@pytest.mark.parametrize("chunks", [(1, 5, 6), (3, 2, 4), (8, 5, 6), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("chosen", ["::5", "::7,0-2", ""])
def test_chunks_of_any_shape(tmp_path, chunks, chosen):
    save_zarr(tmp_path / "a.zarr", STACK, chunks=chunks)
    numbers = {"::5": [5], "::7,0-2": [7, 0, 1, 2], "": range(8)}[chosen]
    assert_read(f"{tmp_path / 'a.zarr'}{chosen}", STACK[numbers])


@pytest.mark.parametrize("codec", ["blosc", "gzip", "none", "sharded", "one shard", "checksum"])
def test_compression_of_format_3(tmp_path, codec):
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

    options = {
        "blosc": {"compressors": BloscCodec()},
        "gzip": {"compressors": GzipCodec()},
        "none": {"compressors": None},
        "sharded": {"chunks": (1, 5, 3), "shards": (4, 5, 6)},
        "one shard": {"chunks": (1, 5, 3), "shards": (1, 5, 6), "compressors": BloscCodec()},
        "checksum": {"compressors": [ZstdCodec(checksum=True), Crc32cCodec()]},
    }[codec]
    save_zarr(tmp_path / "a.zarr", STACK, **options)
    assert_read(tmp_path / "a.zarr", STACK)
    assert_read(f"{tmp_path / 'a.zarr'}::3", STACK[3:4])


@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", "zlib", "lz4", None])
def test_compression_of_format_2(tmp_path, codec):
    import numcodecs

    options = {
        "compressors": codec and numcodecs.get_codec({"id": codec}),
        "filters": [numcodecs.Delta("u1")],
    }
    save_zarr(tmp_path / "a.zarr", STACK, version=2, **options)
    assert_read(tmp_path / "a.zarr", STACK)


def test_images_lie_along_the_axes_that_are_named(tmp_path):
    save_zarr(tmp_path / "a.zarr", STACK.T, chunks=(6, 5, 2), dimension_names=("x", "y", "z"))
    assert_read(tmp_path / "a.zarr", STACK)
    save_zarr(tmp_path / "b.zarr", STACK.T, version=2, attributes={"_ARRAY_DIMENSIONS": ["x", "y", "z"]})
    assert_read(tmp_path / "b.zarr", STACK)
    save_zarr(tmp_path / "c.zarr", STACK[None, :, None], dimension_names=("c", "z", "t", "y", "x"))
    assert_read(tmp_path / "c.zarr", STACK)
    save_zarr(tmp_path / "d.zarr", STACK[0], chunks=(5, 6))
    assert_read(tmp_path / "d.zarr", STACK[:1])
    assert read_images(str(tmp_path / "d.zarr"))[0].name == "d.zarr"


def test_arrays_in_groups_are_named(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_group("raw")
    save_zarr(tmp_path / "a.zarr/raw/first", STACK)
    assert_read(tmp_path / "a.zarr", STACK)
    assert_read(f"{tmp_path / 'a.zarr'}:/raw", STACK)
    save_zarr(tmp_path / "a.zarr/second", STACK[::-1])
    message = refusal(tmp_path / "a.zarr")
    assert "/raw/first (8, 5, 6)" in message and "/second (8, 5, 6)" in message and "a.zarr:/PATH" in message
    assert read_images(f"{tmp_path / 'a.zarr'}:/second::2")[0].name == "a.zarr:/second::2"
    assert_read(f"{tmp_path / 'a.zarr'}:/second", STACK[::-1])
    assert "there is no array 'third'" in refusal(f"{tmp_path / 'a.zarr'}:/third")
    assert "steps of dots" in refusal(f"{tmp_path / 'a.zarr'}:/raw/../second")


def test_the_finest_scale_that_is_there(tmp_path):
    """Metadata list scales that may be missing, or of which only metadata were copied."""
    path = save_ome(tmp_path / "a.zarr", STACK)
    assert_read(path, STACK)
    (image, *_) = read_images(str(path))
    assert image.pixel_size == pytest.approx(0.5e-6) and image.notes == ()
    for chunk in (path / "s0").glob("[0-9]*"):
        chunk.unlink()
    coarse = read_images(str(path))
    torch.testing.assert_close(
        [one.pixels for one in coarse], [*expected(STACK[:, ::2, ::2])], rtol=0, atol=0
    )
    assert coarse[0].pixel_size == pytest.approx(1e-6)
    assert coarse[0].notes == ("scale 1 of 2 is read (s1); finer ones are not there",)
    assert "none of its scales s0 has values here" in refusal(f"{path}:/s0")
    shutil.rmtree(path / "s0")
    assert len(read_images(str(path))) == 8
    shutil.rmtree(path / "s1")
    assert "none of its scales s0, s1 has values here" in refusal(path)


def test_a_scale_is_asked_for(tmp_path):
    """What the group says of axes and sizes holds for it."""
    path = save_ome(tmp_path / "in" / "a.zarr", STACK.transpose(2, 1, 0), axes="xyz")
    images = read_images(f"{path}:/s1")
    torch.testing.assert_close(
        [one.pixels for one in images], [*expected(STACK[:, ::2, ::2])], rtol=0, atol=0
    )
    assert images[0].name == "a.zarr:/s1::0" and images[0].pixel_size == pytest.approx(1e-6)
    zarr.open_group(tmp_path / "in", mode="a", zarr_format=2)
    assert_read(f"{tmp_path / 'in'}:/a.zarr/s0", STACK)


def test_channels_and_times_are_rejected(tmp_path):
    assert_read(save_ome(tmp_path / "a.zarr", STACK[None, None], axes="tczyx"), STACK)
    for shape, axes in (((2, 1, 4, 5, 6), "tczyx"), ((1, 2, 4, 5, 6), "tczyx"), ((3, 5, 6), "cyx")):
        path = save_ome(
            tmp_path / f"{axes}{shape[0]}.zarr", STACK.ravel()[: np.prod(shape)].reshape(shape), axes=axes
        )
        assert "expected one stack of images in grey" in refusal(path)


def test_an_unknown_unit_is_said(tmp_path):
    (image, *_) = read_images(str(save_ome(tmp_path / "a.zarr", STACK, unit="parsec")))
    assert image.pixel_size is None and image.notes == ("its pixels are 0.5 in a unit that it does not say",)


def edited(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BAD_ARRAYS = {  # what the metadata of format 2 say, and why they are rejected
    "huge": ({"shape": [2**40, 5, 6]}, "images were asked for"),
    "huge images": ({"shape": [8, 2**20, 2**20]}, "an image declares"),
    "huge chunks": ({"chunks": [2**20, 2**10, 2**10]}, "a chunk declares"),
    "empty": ({"shape": [8, 0, 6]}, "expected numbers (h, w) or (images, h, w)"),
    "negative": ({"shape": [8, -5, 6]}, "content is not what was expected"),
    "line": ({"shape": [240], "chunks": [240]}, "expected numbers (h, w) or (images, h, w)"),
    "films": ({"shape": [2, 4, 5, 6], "chunks": [1, 1, 5, 6]}, "expected one stack of images in grey"),
    "text": ({"dtype": "<U8", "fill_value": ""}, "expected numbers (h, w) or (images, h, w)"),
    "objects": ({"dtype": "|O", "filters": [{"id": "pickle"}]}, "not what was expected"),
    "codec": ({"compressor": {"id": "secret"}}, "is encoded by what is missing here"),
    "filter": ({"filters": [{"id": "secret"}]}, "is encoded by what is missing here"),
    "slow codec": ({"compressor": {"id": "bz2", "level": 1}}, "compressed by bz2; expected one of blosc"),
    "place of chunks": ({"dimension_separator": "/../../"}, "not what was expected"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_absurd_metadata_are_rejected(tmp_path, name):
    changes, words = BAD_ARRAYS[name]
    save_zarr(tmp_path / "a.zarr", STACK, version=2)
    edited(tmp_path / "a.zarr/.zarray", **changes)
    assert words in refusal(tmp_path / "a.zarr")


def test_a_missing_codec_of_format_3_is_named(tmp_path):
    save_zarr(tmp_path / "a.zarr", STACK)
    metadata = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    edited(
        tmp_path / "a.zarr/zarr.json", codecs=[*metadata["codecs"], {"name": "secret", "configuration": {}}]
    )
    assert "secret" in (message := refusal(tmp_path / "a.zarr")) and "missing here" in message


def test_an_array_without_values_is_rejected(tmp_path):
    save_zarr(tmp_path / "a.zarr", STACK)
    shutil.rmtree(tmp_path / "a.zarr/c")
    assert "has metadata, but no values" in refusal(tmp_path / "a.zarr")


def test_only_the_chunks_that_were_picked_are_read(tmp_path):
    save_zarr(tmp_path / "a.zarr", STACK)
    for i in (0, 1, 2, 3, 4, 6, 7):
        (tmp_path / f"a.zarr/c/{i}/0/0").write_bytes(b"damaged")
    assert_read(f"{tmp_path / 'a.zarr'}::5", STACK[5:6])
    assert "the chunk c/6/0/0 cannot be unpacked into 30 bytes" in refusal(f"{tmp_path / 'a.zarr'}::6")
    assert count_images(str(tmp_path / "a.zarr")) == 8


def test_zarr_without_zarr_names_the_extra(tmp_path, monkeypatch):
    save_zarr(tmp_path / "a.zarr", STACK)
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert "tomopilot[volumes]" in refusal(tmp_path / "a.zarr")


def test_a_real_image_of_which_two_scales_are_here(data_folder):
    path = data_folder / "native/zarr/mni152.ome.zarr"
    images = read_images(str(path))
    stored = zarr.open(path / "scale3/nibabel_converted_image", mode="r")[:]
    torch.testing.assert_close([one.pixels for one in images], [*torch.from_numpy(stored.T).float()])
    assert (
        images[0].notes[0]
        == "scale 3 of 5 is read (scale3/nibabel_converted_image); finer ones are not there"
    )
    assert len(read_images(f"{path}:/scale4")) == 13
