"""What the bridge promises as a module. That it answers as `coordinator bridge` does is tested with that."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Tuple
from unittest import mock

import coordination_bridge as bridge

HEALTH = {"status": "ok", "db": "connected", "version": "9.9.9"}


class Fake(ThreadingHTTPServer):
    """A server with set answers, that keeps what it was asked: method, path, headers, body."""

    daemon_threads = True

    def __init__(self, answers: Dict[str, Tuple[int, Any]]) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> List[str]:
        return [path for _, path, _, _ in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, said = self.server.answers.get(self.path, (404, {"error": "not_found", "message": "nothing here"}))
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        if said is None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
            self.close_connection = True
            return
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", str(said))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_CONNECT = answer

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def fake(**answers: Tuple[int, Any]) -> Iterator[Fake]:
    """Its paths are given with `_` for `/`; it is healthy unless told otherwise."""
    paths = {"/" + path.replace("_", "/"): answer for path, answer in answers.items()}
    with Fake({"/health": (200, HEALTH), **paths}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def environment(**variables: str) -> Any:
    return mock.patch.dict(os.environ, variables, clear=True)


class Bridge(unittest.TestCase):
    def test_the_key_is_shown_to_coordinators_only(self) -> None:
        with fake(health=(200, {"status": "ok"})) as other, environment(COORDINATION_API_KEY="secret"):
            self.assertEqual(bridge.try_lock(file_path="a", http_url=other.url)["reason"], "not_a_coordinator")
            self.assertEqual(bridge.detect_coordination(other.url)["reason"], "not_a_coordinator")
            self.assertEqual(other.paths(), ["/health", "/health"])
            self.assertNotIn("secret", str(other.asked))
        with fake(locks_acquire=(200, {"success": True})) as server, environment(COORDINATION_API_KEY="secret"):
            self.assertEqual(bridge.try_lock(file_path="a", http_url=server.url)["status"], "ok")
            (_, _, first, _), (_, path, second, _) = server.asked
            self.assertNotIn("secret", str(first))
            self.assertEqual((path, second["X-Api-Key"]), ("/locks/acquire", "secret"))

    def test_no_redirect_is_followed(self) -> None:
        with fake(locks_acquire=(200, {"success": True})) as target, environment():
            for status in (301, 302, 303, 307, 308):
                with fake(locks_acquire=(status, target.url + "/locks/acquire")) as server:
                    self.assertEqual(bridge.try_lock(file_path="a", http_url=server.url)["status"], "skipped")
                with fake(health=(status, target.url + "/health")) as server:
                    self.assertEqual(bridge.detect_coordination(server.url)["reason"], "not_a_coordinator")
            self.assertEqual(target.asked, [])

    def test_a_proxy_is_asked_for_other_hosts_only(self) -> None:
        with fake() as proxy, fake() as server:
            proxies = {"http_proxy": proxy.url, "HTTP_PROXY": proxy.url, "https_proxy": proxy.url}
            with environment(COORDINATION_ALLOWED_HOSTS="team.example, other.example", **proxies):
                self.assertTrue(bridge.detect_coordination(server.url)["COORDINATOR_AVAILABLE"])
                self.assertEqual(proxy.asked, [])
                bridge.detect_coordination("http://team.example")
                self.assertEqual(proxy.paths(), ["http://team.example/health"])
                bridge.detect_coordination("https://team.example")
                self.assertEqual(proxy.asked[-1][:2], ("CONNECT", "team.example:443"))
                asked = len(proxy.asked)
                for refused in ("http://evil.example", "http://team.example.evil.example", "https://10.0.0.1"):
                    self.assertEqual(bridge.detect_coordination(refused)["reason"], "host_not_allowed")
                self.assertEqual(len(proxy.asked), asked)

    def test_nothing_is_sent_for_an_address_that_can_be_read_in_two_ways(self) -> None:
        with fake() as server, environment(COORDINATION_ALLOWED_HOSTS="team.example"):
            port = server.server_address[1]
            for url in (
                f"http://team.example@127.0.0.1:{port}",
                f"http://127.0.0.1:{port}/?x",
                f"http://127.0.0.1:{port}\\@team.example",
                f"http://127.0.0.1:{port}#@team.example",
                f"http://127.0.0.1:{port} ",
                "file:///etc/passwd",
                "http://[::1",
            ):
                said = bridge.detect_coordination(url)
                if url.endswith(" "):
                    self.assertTrue(said["COORDINATOR_AVAILABLE"], "a space at the end is nobody's intent")
                else:
                    self.assertEqual(said["reason"], "bad_url", url)

    def test_nothing_raises(self) -> None:
        odd: List[Any] = ["\0\n\ud800", object(), float("nan"), {1: {2}}, [[]], -1, b"x"]
        functions = [getattr(bridge, name) for name in bridge.__all__]
        with fake() as server, environment():
            for function in functions:
                parameters = inspect.signature(function).parameters
                needed = {p.name: "x" for p in parameters.values() if p.default is p.empty}
                for name in parameters:
                    for value in odd:
                        said = function(**{**needed, "http_url": server.url, name: value})
                        self.assertIn(said["status"], ("ok", "error", "skipped"), (function, name, value))
                        json.dumps(said)

    def test_what_is_no_json_is_the_asker_s_mistake(self) -> None:
        with fake() as server, environment():
            said = bridge.try_remember(event_type="error", summary="x", details={1, 2}, http_url=server.url)
            self.assertEqual((said["status"], said["reason"]), ("error", "bad_request"))
            self.assertEqual(server.asked, [])

    def test_every_status_has_one_meaning(self) -> None:
        problem = {"error": "code", "message": "a sentence"}
        for status, answer, expected in (
            (200, {"success": False}, ("ok", None)),
            (200, b"no json", ("skipped", "no_answer")),
            (200, None, ("skipped", "no_answer")),
            (400, problem, ("error", "code")),
            (401, problem, ("skipped", "unauthorized")),
            (403, problem, ("error", "code")),
            (404, problem, ("skipped", "not_offered")),
            (405, problem, ("skipped", "not_offered")),
            (409, problem, ("error", "code")),
            (422, b"no json", ("error", "refused")),
            (429, problem, ("skipped", "code")),
            (500, b"", ("skipped", "no_answer")),
            (503, problem, ("skipped", "code")),
        ):
            with fake(locks_acquire=(status, answer)) as server, environment():
                said = bridge.try_lock(file_path="a", http_url=server.url)
                self.assertEqual((said["status"], said.get("reason")), expected, status)
                self.assertTrue(said["COORDINATOR_AVAILABLE"])

    def test_flags_are_true_when_all_that_they_need_is_there(self) -> None:
        missing = {"error": "invalid_request"}
        with fake(
            locks_acquire=(422, missing),
            locks_release=(422, missing),
            work_submit=(422, missing),
            work_claim=(422, missing),
            handoffs_write=(422, missing),
            handoffs_read=(200, {"handoffs": []}),
            memory_store=(403, missing),
            memory_query=(422, missing),
            policy_check=(500, missing),
        ) as server, environment():
            said = bridge.detect_coordination(server.url)
            flags = {name for name, value in said.items() if name.startswith("CAN_") and value}
            self.assertEqual(flags, {"CAN_LOCK", "CAN_HANDOFF"})
            self.assertEqual(said["missing"]["CAN_QUEUE_WORK"], "not_offered")
            self.assertEqual(said["missing"]["CAN_MEMORY"], "forbidden")
            self.assertEqual(said["missing"]["CAN_POLICY"], "no_answer")
            sent = {body for method, _, _, body in server.asked if method == "POST"}
            self.assertEqual(sent, {b"{}"}, "a probe says nothing, so that it does nothing")

    def test_a_name_server_that_keeps_silent_holds_nobody_up(self) -> None:
        released = threading.Event()

        def silent(*_: Any, **__: Any) -> Any:
            released.wait(20)
            raise OSError("too late")

        with environment(COORDINATION_ALLOWED_HOSTS="team.example"), mock.patch("socket.getaddrinfo", silent):
            begun = time.monotonic()
            said = bridge.try_recall(http_url="http://team.example")
            self.assertLess(time.monotonic() - begun, bridge.PATIENCE + 0.5)
            released.set()
        self.assertEqual(said["reason"], "coordinator_unreachable")


if __name__ == "__main__":
    unittest.main()
