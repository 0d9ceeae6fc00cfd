"""A server that speaks Google's cloud storage, on this machine: an emulator, in its own thread.

It does not know conditions. What Google's documentation says of ``ifGenerationMatch=0``, status 412
where the object is there already, is added here; requests come one at a time, so that of two that
write on this condition one is first.
"""

from __future__ import annotations

import io
import re
import threading
from functools import partial
from http.server import HTTPServer

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage


class _Handler(RequestHandler):
    def do_POST(self) -> None:  # noqa: N802
        if "ifGenerationMatch=0" in self.path:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.rfile = io.BytesIO(body)
            bucket = self.path.partition("/b/")[2].partition("/")[0]
            name = re.search(rb'"name": "([^"]*)"', body)
            assert name is not None
            try:
                self.storage.get_file_obj(bucket, name[1].decode())
            except NotFound:
                pass
            else:
                self.send_error(412)
                return
        super().do_POST()


class Server:
    """It has one bucket, and holds it in memory."""

    def __init__(self, bucket: str) -> None:
        storage = Storage(use_memory_fs=True)
        create_bucket(bucket, storage)
        self._server = HTTPServer(("127.0.0.1", 0), partial(_Handler, storage))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
