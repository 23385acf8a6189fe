"""A Cloud Storage to test against: an emulator over HTTP, and a network before it that fails now and then."""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gcp_storage_emulator.server import create_server

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


@contextmanager
def emulator() -> Iterator[str]:
    """An empty Cloud Storage; its URL is for STORAGE_EMULATOR_HOST."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        yield "http://{}:{}".format(*server._api._httpd.server_address)
    finally:
        server.stop()


class Handler(BaseHTTPRequestHandler):
    """Says nothing of requests, and has answers in a line."""

    def reply(self, status: int, content: bytes) -> None:
        """Sends a whole answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def service_account(token_uri: str) -> dict[str, str]:
    """The key of a service account that nobody has, for tokens from `token_uri`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": "no-such-project",
        "private_key_id": "1",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": "launcher@no-such-project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server on loopback, and its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Fault = Callable[[str, str, int], str | None]  # method, path, number of the request -> what goes wrong with it


@contextmanager
def faulty_network(url: str, fault: Fault) -> Iterator[tuple[str, list[str]]]:
    """Passes requests on to a server, but for those that `fault` names; its own URL, and the faults that there were.

    A fault is a status such as "503"; "reset": the request is not passed on; "lost": it is, and the answer is not;
    "half": the answer breaks off. Where the emulator is not like Cloud Storage this is: bytes of an upload that are
    sent again are ignored, and a generation of an object that was replaced is not there.
    """
    host = url.removeprefix("http://")
    faults: list[str] = []
    count = iter(range(1 << 40))
    answers: dict[tuple[str, str], tuple[int, list[tuple[str, str]], bytes]] = {}  # to parts of uploads

    def ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(host)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def is_replaced(path: str) -> bool:
        query = parse_qs(urlsplit(path).query)
        if "generation" not in query:
            return False
        name = urlsplit(path).path.removeprefix("/download")
        return json.loads(ask("GET", name, b"", {})[2] or "{}").get("generation") != query["generation"][0]

    class Proxy(Handler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            what = fault(self.command, self.path, next(count))
            if what:
                faults.append(f"{what} {self.command} {self.path}")
            if what and what.isdigit():
                self.reply(int(what), b"")
                return
            if what == "reset":
                self.reset()
                return
            if is_replaced(self.path):
                self.send_error(404)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            headers["Host"] = self.headers["Host"]
            key = self.path, self.headers.get("Content-Range", "")
            answer = answers.get(key) or ask(self.command, self.path, body, headers)
            status, answered, content = answer
            if "upload_id" in self.path:
                answers[key] = answer
            if what == "lost":
                self.reset()
                return
            if "alt=media" not in self.path:  # links of the emulator, which would lead past this network
                content = content.replace(url.encode(), f"http://{self.headers['Host']}".encode())
            self.send_response(status)
            for name, value in answered:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value.replace(url, f"http://{self.headers['Host']}"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if what == "half" else content)
            if what == "half":
                self.reset()

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

        def reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

    with serve(Proxy) as own:
        yield own, faults
