import gzip
import json
import os
import zlib

import numpy as np
import pytest
from samples import STACK, refusal, save_ome, save_zarr

google_crc32c = pytest.importorskip("google_crc32c")
numcodecs = pytest.importorskip("numcodecs")
pytest.importorskip("zarr")
ZEROS = np.zeros(2**26, np.uint8)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    """A chunk, the metadata and a whole scale that lie elsewhere; what is there is never shown."""
    save_zarr(tmp_path / "secret.zarr", STACK)
    save_zarr(tmp_path / "a.zarr", STACK)
    (tmp_path / "a.zarr/c/3/0/0").unlink()
    (tmp_path / "a.zarr/c/3/0/0").symlink_to(tmp_path / "secret.zarr/c/3/0/0")
    assert "c/3/0/0 lies outside of its folder" in refusal(f"{tmp_path / 'a.zarr'}::3")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr/zarr.json").symlink_to(tmp_path / "secret.zarr/zarr.json")
    (tmp_path / "b.zarr/c").symlink_to(tmp_path / "secret.zarr/c")
    assert "zarr.json lies outside of its folder" in refusal(tmp_path / "b.zarr")
    save_ome(tmp_path / "c.zarr", STACK)
    (tmp_path / "c.zarr/s0").rename(tmp_path / "moved")
    (tmp_path / "c.zarr/s0").symlink_to(tmp_path / "moved")
    assert "s0/zarr.json lies outside of its folder" in refusal(f"{tmp_path / 'c.zarr'}:/s0/x")


def test_every_way_to_read_is_guarded(tmp_path):
    """Those of later versions of zarr too."""
    import asyncio

    from zarr.core.buffer import default_buffer_prototype

    from tomopilot.files.inside import Inside
    from tomopilot.files.reading import InputFileError

    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a.zarr").mkdir()
    store = Inside(tmp_path / "a.zarr", read_only=True)
    ways = (
        lambda: asyncio.run(store.get("../secret", default_buffer_prototype())),
        lambda: asyncio.run(store.get_partial_values(default_buffer_prototype(), [("../secret", None)])),
        lambda: store.get_sync("../secret"),
    )
    for way in ways:
        with pytest.raises(InputFileError, match="outside of its folder"):
            way()


@pytest.mark.parametrize("place", ["../secret.zarr", "{}/secret.zarr", "s0/../../secret.zarr"])
def test_metadata_that_point_out_of_the_folder(tmp_path, place):
    save_zarr(tmp_path / "secret.zarr", STACK, version=2)
    save_ome(tmp_path / "a.zarr", STACK, datasets=[{"path": place.format(tmp_path)}])
    assert "none of its scales" in refusal(tmp_path / "a.zarr")


def test_pipes_and_large_metadata_are_rejected(tmp_path):
    save_zarr(tmp_path / "a.zarr", STACK)
    (tmp_path / "a.zarr/c/3/0/0").unlink()
    os.mkfifo(tmp_path / "a.zarr/c/3/0/0")
    assert "is a pipe, not a file" in refusal(f"{tmp_path / 'a.zarr'}::3")
    with (tmp_path / "a.zarr/zarr.json").open("ab") as file:
        file.truncate(2**24)
    assert "has 16777216 bytes; at most" in refusal(tmp_path / "a.zarr")


BOMBS = {
    "blosc": lambda: numcodecs.Blosc().encode(ZEROS),
    "zstd": lambda: numcodecs.Zstd().encode(ZEROS),
    "lz4": lambda: numcodecs.LZ4().encode(ZEROS),
    "gzip": lambda: gzip.compress(ZEROS.tobytes()),
    "zlib": lambda: zlib.compress(ZEROS.tobytes()),
}


@pytest.mark.parametrize("codec", BOMBS)
def test_chunks_that_inflate_beyond_their_size(tmp_path, codec, monkeypatch):
    """Of 64 MB instead of 30 bytes; the limit is known before anything is inflated."""
    save_zarr(tmp_path / "a.zarr", STACK, version=2)
    metadata = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    metadata["compressor"] = numcodecs.get_codec({"id": codec}).get_config()
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(metadata))
    (tmp_path / "a.zarr/0.0.0").write_bytes(BOMBS[codec]())
    assert "the chunk 0.0.0 cannot be unpacked into 30 bytes" in refusal(f"{tmp_path / 'a.zarr'}::0")


@pytest.mark.parametrize("length", [0, 15, 16, 100, -1])
def test_chunks_of_blosc_that_were_cut(tmp_path, length):
    """The library decodes what lies behind them in memory."""
    stack = np.random.default_rng(0).integers(0, 256, (1, 64, 64), np.uint8)
    save_zarr(tmp_path / "a.zarr", stack, version=2, compressors=numcodecs.Blosc())
    chunk = tmp_path / "a.zarr/0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:length])
    assert "the chunk 0.0.0 cannot be unpacked into 4096 bytes" in refusal(tmp_path / "a.zarr")


@pytest.mark.parametrize("shards", [(4, 5, 6), (1, 5, 6)], ids=str)
def test_bombs_inside_of_shards(tmp_path, shards):
    """In a shard that is read in part, and in one that is read as a whole."""
    from zarr.codecs import ZstdCodec

    options = {"chunks": (1, 5, 3), "shards": shards, "compressors": ZstdCodec()}
    save_zarr(tmp_path / "a.zarr", STACK, **options)
    shard = tmp_path / "a.zarr/c/0/0/0"
    content, bomb = shard.read_bytes(), numcodecs.Zstd().encode(ZEROS)
    index = content[-16 * 2 * shards[0] - 4 : -4]
    index = np.array([len(content), len(bomb)], "<u8").tobytes() + index[16:]
    shard.write_bytes(content + bomb + index + google_crc32c.value(index).to_bytes(4, "little"))
    assert "cannot be unpacked into 15 bytes" in refusal(f"{tmp_path / 'a.zarr'}::0")
