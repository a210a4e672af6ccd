"""A bucket for tests, served from a folder: as much of the APIs of Google's and Amazon's storage as a sweep needs.

    python bucket_server.py PORT FOLDER

Both APIs look at the same objects. Generations and ETags change with every write; conditions on them are kept.
What was answered with success is in the folder, so that the server can be killed and started again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 100
"""Names in an answer to a listing: few, so that the next page is asked for."""


class Bucket:
    """Objects in a folder, by quoted names."""

    def __init__(self, folder: Path):
        self.folder, self.lock = folder, threading.Lock()

    def read(self, name: str) -> tuple[bytes, int] | None:
        """Bytes and generation."""
        file = self.folder / quote(name, safe="")
        try:
            return file.read_bytes(), file.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes | None, generation: int | None = None) -> int | None:
        """Write, or remove; the new generation, or None where `generation` is given and is not the present one."""
        with self.lock:
            there = self.read(name)
            if generation is not None and generation != (there[1] if there else 0):
                return None
            file = self.folder / quote(name, safe="")
            if data is None:
                file.unlink(missing_ok=True)
                return 0
            partial = self.folder / f".{threading.get_ident()}"
            partial.write_bytes(data)
            partial.replace(file)
            return file.stat().st_mtime_ns

    def listed(self, prefix: str, first: str, stop: str) -> list[str]:
        """Names with a prefix, from `first` to before `stop`."""
        names = sorted(unquote(entry.name) for entry in os.scandir(self.folder) if not entry.name.startswith("."))
        return [name for name in names if name.startswith(prefix) and first <= name and (not stop or name < stop)]


class Handler(BaseHTTPRequestHandler):
    """Google's API at /storage/v1 and /upload/storage/v1, Amazon's at anything else."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    bucket: Bucket

    def log_message(self, *_):
        """Be silent."""

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/storage/v1/" in url.path:
            self.google(unquote(url.path.partition("/o/")[2]), query, data)
        else:
            self.amazon(unquote(url.path.lstrip("/").partition("/")[2]), query, data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def google(self, name: str, query: Mapping[str, str], data: bytes) -> None:
        asked = query.get("ifGenerationMatch")
        generation = None if asked is None else int(asked)
        if self.command == "POST":
            found = self.bucket.write(query["name"], data, generation)
            facts = {"name": query["name"], "generation": str(found), "size": str(len(data))}
            self.answer(412 if found is None else 200, json.dumps(facts).encode())
        elif self.command == "DELETE":
            there = self.bucket.read(name)
            self.answer(404 if there is None else 412 if self.bucket.write(name, None, generation) is None else 204)
        elif not name:
            first = query.get("pageToken", query.get("startOffset", ""))
            names = self.bucket.listed(query.get("prefix", ""), first, query.get("endOffset", ""))
            page = {"items": [{"name": one, "size": "1"} for one in names[:PAGE]]}
            more = {"nextPageToken": names[PAGE]} if len(names) > PAGE else {}
            self.answer(200, json.dumps({**page, **more}).encode())
        elif (there := self.bucket.read(name)) is None:
            self.answer(404)
        else:
            self.answer(200, there[0], {"x-goog-generation": str(there[1])})

    def amazon(self, name: str, query: Mapping[str, str], data: bytes) -> None:
        there = self.bucket.read(name) if name else None
        tag = f'"{hashlib.md5(str(there[1]).encode()).hexdigest()}"' if there else ""
        if "list-type" in query:
            first = query.get("continuation-token", query.get("start-after", ""))
            names = self.bucket.listed(query.get("prefix", ""), first, "")
            token = f"<NextContinuationToken>{escape(names[PAGE])}</NextContinuationToken>" if len(names) > PAGE else ""
            text = "".join(f"<Contents><Key>{escape(one)}</Key><Size>1</Size></Contents>" for one in names[:PAGE])
            cut = "true" if token else "false"
            body = f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{token}{text}</ListBucketResult>"
            self.answer(200, f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode())
        elif self.command == "PUT":
            nothing = self.headers.get("if-none-match") == "*"
            asked = self.headers.get("if-match")
            if asked is not None and asked != tag:
                self.answer(412)
                return
            found = self.bucket.write(name, data, 0 if nothing else there[1] if asked and there else None)
            made = {"ETag": f'"{hashlib.md5(str(found).encode()).hexdigest()}"'}
            self.answer(412 if found is None else 200, b"", made)
        elif self.command == "DELETE":
            self.bucket.write(name, None)
            self.answer(204)
        elif there is None:
            self.answer(404)
        elif self.headers.get("if-match") not in (None, tag):
            self.answer(412)
        else:
            self.answer(200, there[0], {"ETag": tag})


def main() -> None:
    """Serve until the process is killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    Handler.bucket = Bucket(folder)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
