"""A zarr store of which nothing outside its folder is read, nor chunks that inflate beyond their size."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numcodecs
import numpy as np
from zarr.abc.store import ByteRequest, SuffixByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from tomopilot.files.reading import IMAGE, InputFileError, check_named

METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
JSON = 2**23  # bytes of metadata
COMPRESSORS = {"blosc", "zstd", "gzip", "zlib", "lz4"}  # that can be told how much to inflate at most
CHECKSUM = "crc32c"  # four bytes at the end


class Inside(LocalStore):
    """A folder, to be read with care."""

    compressor, checked = "", False
    chunk = shard = 0  # bytes of a chunk that is decoded; chunks of a shard, 0 where there are none

    def expect(self, array: Any) -> None:
        """Learns from the metadata of an array, which is read next, what its chunks should be."""
        names = [
            str(getattr(codec, "codec_id", "") or codec.to_dict()["name"]) for codec in array.compressors
        ]
        packed = [name for name in names if name != CHECKSUM]
        if len(packed) > 1 or not COMPRESSORS.issuperset(packed):
            raise InputFileError(
                f"its chunks are compressed by {' and '.join(packed)}; expected one of "
                f"{', '.join(sorted(COMPRESSORS))}: save it with zstd"
            )
        self.compressor, self.checked = "".join(packed), CHECKSUM in names
        self.chunk = int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize
        for codec in getattr(array.metadata, "codecs", ()):
            if isinstance(codec, ShardingCodec):
                if codec.index_location.value != "end":
                    raise InputFileError(
                        "its shards have their index in front; expected it at the end: save again"
                    )
                self.shard = int(np.prod(array.shards, dtype=object) // np.prod(array.chunks, dtype=object))

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """What lies under a key, if it is here and no larger than it should be."""
        self._check_place(key, byte_range)
        found = await super().get(key, prototype, byte_range)
        self._check_content(key, found, byte_range)
        return found

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The same at once."""
        self._check_place(key, byte_range)
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        self._check_content(key, found, byte_range)
        return found

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """The same for several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    def _check_content(self, key: str, found: Buffer | None, byte_range: ByteRequest | None) -> None:
        index = isinstance(byte_range, SuffixByteRequest)  # of a shard
        if found is not None and self.compressor and not index and key.rpartition("/")[2] not in METADATA:
            for content in self._chunks(found.to_bytes(), whole=byte_range is None):
                self._check_inflated(key, content)

    def _check_place(self, key: str, byte_range: ByteRequest | None) -> None:
        largest = JSON if key.rpartition("/")[2] in METADATA else 2 * IMAGE if byte_range is None else None
        real = (self.root / key).resolve()
        if not real.is_relative_to(self.root.resolve()):
            raise InputFileError(
                f"{key} lies outside of its folder; expected all of it inside: copy it there"
            )
        if real.exists() and not real.is_dir():
            check_named(real, f"{key}, a part of a zarr store", largest)

    def _chunks(self, content: bytes, *, whole: bool) -> Iterator[bytes]:
        """Each chunk: of a whole shard, where its index of offsets and lengths says that it lies."""
        if not (whole and self.shard):
            yield content
            return
        index = np.frombuffer(content[-16 * self.shard - 4 : -4], "<u8").reshape(-1, 2)
        for offset, length in index.tolist():
            if offset + length <= len(content):  # others are empty, or found to be damaged
                yield content[offset : offset + length]

    def _check_inflated(self, key: str, content: bytes) -> None:
        content = content[:-4] if self.checked else content
        try:
            if self.compressor == "blosc" and int.from_bytes(content[12:16], "little") != len(content):
                raise ValueError(f"it has {len(content)} bytes, not all")  # which blosc does not look at
            if self.compressor == "zlib":
                inflated = zlib.decompressobj().decompress(content, self.chunk + 1)
                if len(inflated) > self.chunk:
                    raise ValueError("it inflates to more")
            else:
                numcodecs.get_codec({"id": self.compressor}).decode(content, np.empty(self.chunk, "u1"))
        except (ValueError, RuntimeError, OSError, zlib.error, EOFError) as error:
            raise InputFileError(
                f"the chunk {key} cannot be unpacked into {self.chunk} bytes ({error}); copy it again"
            ) from None
