"""A server that speaks S3, on this machine: moto's, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>"
SLOW_DOWN = ERROR.format("SlowDown", "Please reduce your request rate.").encode()
DENIED = ERROR.format("AccessDenied", "Access Denied").encode()


def never(method: str, path: str) -> bool:
    return False


class Server:
    """It counts what it is asked for, by method; ``busy(method, path)`` is answered by 503, and
    ``denied`` by 403."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.asked: Counter[str] = Counter()
        self.busy = self.denied = never
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        listing = method == "GET" and "list-type" in environ.get("QUERY_STRING", "")
        self.asked["LIST" if listing else method] += 1
        if self.denied(method, path):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [DENIED]
        if self.busy(method, path):
            self.asked["503"] += 1
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        return self._app(environ, start)

    def close(self) -> None:
        self._server.shutdown()
