#!/usr/bin/env python3
"""Agent Coordinator over HTTP, for agents and scripts that have neither MCP nor the `coordinator` binary.

As a command it prints one JSON object:

    coordination_bridge.py detect
    coordination_bridge.py lock src/auth/ --reason "rename the session type"

and as a module it returns the same as a dictionary:

    from coordination_bridge import detect_coordination, try_lock

Python 3.9 or later and its standard library are all it needs. `coordinator bridge` says the same in the same words.

Every answer has a ``status``:

``ok``
    The coordinator answered; its answer is ``response``, and ``success`` may be false in it (a lock that is taken).
``error``
    The coordinator refused the request: ``reason`` is its code, ``message`` its sentence.
``skipped``
    Nothing was done, because the coordinator is away, wants a key or does not offer this. Tell it, and go on.

Nothing here raises, and a coordinator that is gone costs less than two seconds.

The server is the one that is named first: by argument, by ``COORDINATION_API_URL``, else
``http://localhost:${AGENT_COORDINATOR_REST_PORT:-3000}``. No other is tried, for it would not know the locks of the first.
Only this machine and the hosts in ``COORDINATION_ALLOWED_HOSTS`` (separated by commas) are contacted. Redirects are not
followed. The key is in ``COORDINATION_API_KEY``, and is shown only to what has proved to be a coordinator.
"""

from __future__ import annotations

import argparse
import functools
import ipaddress
import json
import os
import queue
import re
import sys
import threading
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, TypeVar
from urllib import error as url_error
from urllib import request as url_request
from urllib.parse import quote

__all__ = [
    "detect_coordination",
    "try_lock",
    "try_unlock",
    "try_check_locks",
    "try_submit_work",
    "try_get_work",
    "try_complete_work",
    "try_get_task",
    "try_handoff_write",
    "try_handoff_read",
    "try_remember",
    "try_recall",
    "try_check_guardrails",
    "try_register",
    "try_heartbeat",
    "try_discover",
    "try_check_policy",
    "try_query_audit",
]

Answer = Dict[str, Any]
Result = TypeVar("Result")

#: Seconds in which a coordinator must show that it is there.
PATIENCE = 1.2
#: Seconds for an answer from one that is there: it may have to wait for its database.
ANSWER_PATIENCE = 10.0
#: The largest answer, in bytes.
ANSWER_LIMIT = 16 * 1024 * 1024
#: Who acts when nobody is named.
UNNAMED_ID, UNNAMED_TYPE = "cloud-agent", "cloud_agent"

#: Each capability, and what must be there for it. What changes something is asked with ``{}``, which is never enough.
CAPABILITIES: Dict[str, Tuple[Tuple[str, str], ...]] = {
    "CAN_LOCK": (("POST", "/locks/acquire"), ("POST", "/locks/release")),
    "CAN_QUEUE_WORK": (("POST", "/work/submit"), ("POST", "/work/claim"), ("POST", "/work/complete")),
    "CAN_HANDOFF": (("POST", "/handoffs/write"), ("POST", "/handoffs/read")),
    "CAN_MEMORY": (("POST", "/memory/store"), ("POST", "/memory/query")),
    "CAN_GUARDRAILS": (("POST", "/guardrails/check"),),
    "CAN_DISCOVER": (("GET", "/agents"), ("POST", "/agents/register")),
    "CAN_POLICY": (("POST", "/policy/check"),),
    "CAN_AUDIT": (("GET", "/audit?limit=1"),),
}

_ADDRESS = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?(/[!-~]*)?", re.IGNORECASE)


class _Skip(Exception):
    """Why nothing was done: a stable code, a sentence, and the library's own words where there are any."""

    def __init__(self, reason: str, message: str, detail: Optional[str] = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.detail = reason, message, detail


# Which server


def _env(name: str) -> str:
    return os.environ.get(name, "").strip()


@functools.lru_cache(maxsize=None)
def _file() -> Dict[str, Any]:
    """``coordinator.toml`` at the top of the work tree, or here. What is wrong with it is no reason to stop."""
    try:
        import tomllib  # Python 3.11 and later; before that only the environment counts.

        here = os.getcwd()
        while not os.path.exists(os.path.join(here, ".git")) and os.path.dirname(here) != here:
            here = os.path.dirname(here)
        top = here if os.path.exists(os.path.join(here, ".git")) else os.getcwd()
        with open(os.path.join(top, "coordinator.toml"), "rb") as file:
            return tomllib.load(file)
    except (ImportError, OSError, ValueError):
        return {}


def _setting(name: str) -> str:
    """From the environment, else from the file. Only for what may not send a key elsewhere."""
    value = _file().get(name.lower(), "")
    return _env(name) or (",".join(map(str, value)) if isinstance(value, list) else str(value).strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address == ipaddress.IPv6Address("::1") or (address.version == 4 and address.is_loopback)


def _split(url: str, named_by: str) -> Tuple[str, str]:
    """The address without a slash at its end, and the host in it. Whatever could be read in two ways is refused."""
    match = _ADDRESS.fullmatch(url)
    if not match or int(match[3] or 80) > 65535 or any(mark in (match[4] or "") for mark in "?#@\\"):
        quoted = json.dumps(url, ensure_ascii=False)
        raise _Skip("bad_url", f"{named_by} is {quoted}: must be an address such as https://coordinator.example")
    return url.rstrip("/"), match[2].strip("[]").lower()


def _find(http_url: Optional[str]) -> Tuple[str, bool]:
    """The server's address, and whether it is on this machine."""
    if http_url:
        url, host = _split(http_url.strip(), "--http-url")
    elif _env("COORDINATION_API_URL"):
        url, host = _split(_env("COORDINATION_API_URL"), "COORDINATION_API_URL")
    else:
        port = _setting("AGENT_COORDINATOR_REST_PORT") or "3000"
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            quoted = json.dumps(port, ensure_ascii=False)
            raise _Skip("bad_url", f"AGENT_COORDINATOR_REST_PORT is {quoted}: must be a port from 1 to 65535")
        url, host = f"http://localhost:{int(port)}", "localhost"
    if _is_loopback(host):
        return url, True
    allowed = {name.strip().strip("[]").lower() for name in _setting("COORDINATION_ALLOWED_HOSTS").split(",")}
    if host not in allowed:
        raise _Skip("host_not_allowed", f"{host} is not contacted: it is not in COORDINATION_ALLOWED_HOSTS")
    return url, False


# How it is asked


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """What ``work`` returns, within this time in all: no socket's timeout covers a name server that keeps silent."""
    ended: "queue.SimpleQueue[Tuple[Optional[Result], Optional[BaseException]]]" = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


class _Server:
    """A server that has shown itself to be a coordinator."""

    def __init__(self, http_url: Optional[str], api_key: Optional[str], project: Optional[str]) -> None:
        self.url, is_here = _find(http_url)
        self.key = (api_key or "").strip() or _env("COORDINATION_API_KEY")
        if not all("!" <= letter <= "~" for letter in self.key):
            raise _Skip("bad_key", "COORDINATION_API_KEY is no key: it is not plain text")
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        project = (project or "").strip() or _env("COORDINATOR_PROJECT")
        if not all(" " <= letter <= "~" for letter in project):
            raise _Skip("bad_project", "COORDINATOR_PROJECT fits in no header: it is not plain text")
        if project:
            self._headers["X-Coordinator-Project"] = project
        # No handler for redirects, and for this machine no proxy either.
        self._opener = url_request.OpenerDirector()
        for handler in (
            url_request.ProxyHandler({} if is_here else None),
            url_request.HTTPHandler(),
            url_request.HTTPDefaultErrorHandler(),
            url_request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)
        # This one reads all certificates of the system, which takes its time.
        if not is_here or self.url.lower().startswith("https:"):
            self._opener.add_handler(url_request.HTTPSHandler())
        self.version = self._meet()

    def _meet(self) -> str:
        """Asks whether it is a coordinator, before it is shown the key. Its version."""
        try:
            status, body = self._send("GET", "/health", None, PATIENCE, shows_key=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the coordinator is away
            message = (
                f"no coordinator answers at {self.url}: start one with `coordinator serve`, "
                "or name it in COORDINATION_API_URL"
            )
            raise _Skip("coordinator_unreachable", message, str(error)) from None
        if not isinstance(body, dict) or "db" not in body or body.get("status") not in ("ok", "degraded"):
            raise _Skip("not_a_coordinator", f"what answers at {self.url} is no coordinator (status {status})")
        if body["status"] != "ok":
            raise _Skip("database_unreachable", f"the coordinator at {self.url} cannot reach its database")
        version = body.get("version")
        return version if isinstance(version, str) else "of an unknown version"

    def ask(self, method: str, path: str, body: Optional[Answer], patience: float) -> Tuple[int, Any]:
        """The status and the JSON of its answer; ``None`` for an answer that is no JSON."""
        return self._send(method, path, body, patience, shows_key=True)

    def _send(
        self, method: str, path: str, body: Optional[Answer], patience: float, *, shows_key: bool
    ) -> Tuple[int, Any]:
        headers = dict(self._headers)
        if shows_key and self.key:
            headers["X-API-Key"] = self.key
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        request = url_request.Request(self.url + path, data=data, headers=headers, method=method)

        def exchange() -> Tuple[int, bytes]:
            try:
                with self._opener.open(request, timeout=patience) as answer:
                    return answer.status, answer.read(ANSWER_LIMIT + 1)
            except url_error.HTTPError as answer:
                with answer:
                    return answer.code, answer.read(ANSWER_LIMIT + 1)

        status, text = _within(patience, exchange)
        try:
            return status, json.loads(text) if len(text) <= ANSWER_LIMIT else None
        except ValueError:
            return status, None

    def wants_key(self) -> _Skip:
        """Why a request came back with 401."""
        if self.key:
            message = (
                f"the coordinator at {self.url} does not accept the key in COORDINATION_API_KEY: it is unknown, revoked "
                "or expired"
            )
        else:
            message = (
                f"the coordinator at {self.url} wants a key: set COORDINATION_API_KEY "
                "(`coordinator keys create` makes one there)"
            )
        return _Skip("unauthorized", message)


# What it can do


def detect_coordination(
    http_url: Optional[str] = None, api_key: Optional[str] = None, project: Optional[str] = None
) -> Answer:
    """Is a coordinator there, and what can it do for whoever holds the key? ``missing`` says why a flag is false."""
    try:
        return _detect(http_url, api_key, project)
    except _Skip as skip:
        return _state(skip, None)
    except Exception as error:  # noqa: BLE001 - a workflow never stops for the coordinator
        return _state(_Skip("bridge_error", f"this is a defect of the bridge: {error}"), None)


def _detect(http_url: Optional[str], api_key: Optional[str], project: Optional[str]) -> Answer:
    server = _Server(http_url, api_key, project)
    ended: "queue.SimpleQueue[Tuple[Tuple[str, str], str]]" = queue.SimpleQueue()
    probes = [probe for group in CAPABILITIES.values() for probe in group]

    def look(probe: Tuple[str, str]) -> None:
        ended.put((probe, _probe(server, *probe)))

    for probe in probes:
        threading.Thread(target=look, args=(probe,), daemon=True).start()
    found = dict(ended.get() for _ in probes)
    missing = {}
    for flag, group in CAPABILITIES.items():
        wrong = [found[probe] for probe in group if found[probe] != "there"]
        if wrong:
            missing[flag] = wrong[0]
    skip = server.wants_key() if "unauthorized" in missing.values() else None
    return _state(skip, server, missing)


def _probe(server: _Server, method: str, path: str) -> str:
    """``there``, or why not. A request that says nothing has no effect where one must say something."""
    try:
        status, _ = server.ask(method, path, {} if method == "POST" else None, ANSWER_PATIENCE)
    except Exception:  # noqa: BLE001
        return "no_answer"
    if 200 <= status < 300 or status == 422:
        return "there"
    return {401: "unauthorized", 403: "forbidden", 404: "not_offered", 405: "not_offered"}.get(status, "no_answer")


def _state(skip: Optional[_Skip], server: Optional[_Server], missing: Optional[Dict[str, str]] = None) -> Answer:
    answer: Answer = {
        "status": "ok" if server else "skipped",
        "COORDINATOR_AVAILABLE": server is not None,
        "COORDINATION_TRANSPORT": "http" if server else "none",
        "http_url": server.url if server else None,
        "reason": skip.reason if skip else None,
        "message": skip.message if skip else f"coordinator {server.version if server else ''} answers",
        "missing": missing or {},
    }
    for flag in CAPABILITIES:
        answer[flag] = server is not None and flag not in (missing or {})
    if skip and skip.detail:
        answer["detail"] = skip.detail
    if server and not _env("AGENT_ID"):
        answer["warning"] = _UNNAMED
    return answer


# What it is asked for

_UNNAMED = f"AGENT_ID is not set: you act as {UNNAMED_ID}, like every other agent without a name"


def _operation(
    operation: str,
    path: str,
    body: Answer,
    http_url: Optional[str],
    api_key: Optional[str],
    project: Optional[str],
    method: str = "POST",
) -> Answer:
    """Asks for it. What is ``None`` in the body is left out."""
    server: Optional[_Server] = None
    try:
        body = {name: value for name, value in body.items() if value is not None}
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError) as error:
            answer = _head("error", operation, None)
            answer.update(reason="bad_request", message=f"the request is no JSON: {error}")
            return answer
        server = _Server(http_url, api_key, project)
        try:
            status, response = server.ask(method, path, body if method == "POST" else None, ANSWER_PATIENCE)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            message = f"the coordinator at {server.url} did not answer: whether it did what was asked is not known"
            raise _Skip("no_answer", message, str(error)) from None
        answer = _answer(operation, server, status, response)
        if body.get("agent_id") == UNNAMED_ID and not _env("AGENT_ID"):
            answer["warning"] = _UNNAMED
        return answer
    except _Skip as skip:
        return _skipped(operation, server, skip)
    except Exception as error:  # noqa: BLE001 - a workflow never stops for the coordinator
        return _skipped(operation, server, _Skip("bridge_error", f"this is a defect of the bridge: {error}"))


def _head(status: str, operation: str, server: Optional[_Server]) -> Answer:
    return {
        "status": status,
        "operation": operation,
        "COORDINATOR_AVAILABLE": server is not None,
        "COORDINATION_TRANSPORT": "http" if server else "none",
    }


def _skipped(operation: str, server: Optional[_Server], skip: _Skip) -> Answer:
    answer = _head("skipped", operation, server)
    answer.update(reason=skip.reason, message=skip.message)
    if skip.detail:
        answer["detail"] = skip.detail
    return answer


def _answer(operation: str, server: _Server, status: int, response: Any) -> Answer:
    problem = response if isinstance(response, dict) else {}
    code, message = problem.get("error"), problem.get("message")
    if 200 <= status < 300 and response is not None:
        answer = _head("ok", operation, server)
    elif status == 401:
        raise server.wants_key()
    elif status in (404, 405):
        raise _Skip("not_offered", f"the coordinator at {server.url} does not offer this")
    elif 400 <= status < 500 and status != 429:
        answer = _head("error", operation, server)
        answer.update(reason=code or "refused", message=message or f"the coordinator answered {status}")
    else:
        raise _Skip(code or "no_answer", message or f"the coordinator at {server.url} answered {status}")
    answer.update(status_code=status, response=response)
    return answer


def _who(agent_id: Optional[str], agent_type: Optional[str], session_id: Optional[str]) -> Answer:
    return {
        "agent_id": agent_id or _env("AGENT_ID") or UNNAMED_ID,
        "agent_type": agent_type or _env("AGENT_TYPE") or None,
        "session_id": session_id or _env("SESSION_ID") or None,
    }


def _who_of_type(agent_id: Optional[str], agent_type: Optional[str], session_id: Optional[str]) -> Answer:
    """Where the type is required, too."""
    who = _who(agent_id, agent_type, session_id)
    who["agent_type"] = who["agent_type"] or UNNAMED_TYPE
    return who


def try_lock(
    *,
    file_path: str,
    agent_id: Optional[str] = None,
    agent_type: Optional[str] = None,
    session_id: Optional[str] = None,
    reason: Optional[str] = None,
    ttl_minutes: Optional[int] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Locks a path or a logical key such as ``db:users``. Taken: ``response["success"]`` is false, and says by whom."""
    body = {"file_path": file_path, "reason": reason, "ttl_minutes": ttl_minutes}
    body.update(_who_of_type(agent_id, agent_type, session_id))
    return _operation("try_lock", "/locks/acquire", body, http_url, api_key, project)


def try_unlock(
    *,
    file_path: str,
    agent_id: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Gives a lock back."""
    body = {"file_path": file_path, **_who(agent_id, None, None)}
    return _operation("try_unlock", "/locks/release", body, http_url, api_key, project)


def try_check_locks(
    *,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Lists all locks."""
    return _operation("try_check_locks", "/locks", {}, http_url, api_key, project, method="GET")


def try_submit_work(
    *,
    task_type: str,
    task_description: str,
    input_data: Any = None,
    priority: Optional[int] = None,
    depends_on: Optional[Sequence[str]] = None,
    feature_id: Optional[str] = None,
    idempotency_key: Optional[str] = None,
    agent_id: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Adds a task to the queue. Under the same idempotency key it can be repeated without adding another."""
    body = {
        "task_type": task_type,
        "task_description": task_description,
        "input_data": input_data,
        "priority": priority,
        "depends_on": _texts(depends_on),
        "feature_id": feature_id,
        "idempotency_key": idempotency_key,
        **_who(agent_id, None, None),
    }
    return _operation("try_submit_work", "/work/submit", body, http_url, api_key, project)


def try_get_work(
    *,
    agent_id: Optional[str] = None,
    agent_type: Optional[str] = None,
    session_id: Optional[str] = None,
    task_types: Optional[Sequence[str]] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Claims the next task that is ready. None is: ``response["reason"]`` is ``no_tasks_available``."""
    body = {"task_types": _texts(task_types), **_who_of_type(agent_id, agent_type, session_id)}
    return _operation("try_get_work", "/work/claim", body, http_url, api_key, project)


def try_complete_work(
    *,
    task_id: str,
    success: bool,
    agent_id: Optional[str] = None,
    result: Any = None,
    error_message: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Ends a task that the agent claimed."""
    body = {
        "task_id": task_id,
        "success": success,
        "result": result,
        "error_message": error_message,
        **_who(agent_id, None, None),
    }
    return _operation("try_complete_work", "/work/complete", body, http_url, api_key, project)


def try_get_task(
    *,
    task_id: str,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Shows a task, whoever has it."""
    return _operation("try_get_task", "/work/get", {"task_id": task_id}, http_url, api_key, project)


def try_handoff_write(
    *,
    summary: str,
    agent_id: Optional[str] = None,
    session_id: Optional[str] = None,
    completed_work: Optional[Sequence[str]] = None,
    in_progress: Optional[Sequence[str]] = None,
    decisions: Optional[Sequence[str]] = None,
    next_steps: Optional[Sequence[str]] = None,
    relevant_files: Optional[Sequence[str]] = None,
    feature_id: Optional[str] = None,
    content: Any = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Leaves what the next session must know."""
    body = {
        "summary": summary,
        "completed_work": _texts(completed_work),
        "in_progress": _texts(in_progress),
        "decisions": _texts(decisions),
        "next_steps": _texts(next_steps),
        "relevant_files": _texts(relevant_files),
        "feature_id": feature_id,
        "content": content,
        **_who(agent_id, None, session_id),
    }
    return _operation("try_handoff_write", "/handoffs/write", body, http_url, api_key, project)


def try_handoff_read(
    *,
    agent_id: Optional[str] = None,
    agent_name: Optional[str] = None,
    session_id: Optional[str] = None,
    feature_id: Optional[str] = None,
    limit: Optional[int] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Shows the last handoff of ``agent_name``, a session or a feature; else where the agent itself or others left off."""
    body = {
        "agent_name": agent_name,
        "feature_id": feature_id,
        "limit": limit,
        **_who(agent_id, None, None),
        "session_id": session_id,
    }
    return _operation("try_handoff_read", "/handoffs/read", body, http_url, api_key, project)


def try_remember(
    *,
    event_type: str,
    summary: str,
    agent_id: Optional[str] = None,
    session_id: Optional[str] = None,
    details: Any = None,
    outcome: Optional[str] = None,
    lessons: Optional[Sequence[str]] = None,
    tags: Optional[Sequence[str]] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Stores what was learnt: an ``error``, ``success``, ``decision``, ``discovery`` or ``optimization``."""
    body = {
        "event_type": event_type,
        "summary": summary,
        "details": details,
        "outcome": outcome,
        "lessons": _texts(lessons),
        "tags": _texts(tags),
        **_who(agent_id, None, session_id),
    }
    return _operation("try_remember", "/memory/store", body, http_url, api_key, project)


def try_recall(
    *,
    task_description: Optional[str] = None,
    agent_id: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    event_type: Optional[str] = None,
    limit: Optional[int] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Finds what agents learnt before, best first."""
    body = {
        "task_description": task_description,
        "tags": _texts(tags),
        "event_type": event_type,
        "limit": limit,
        **_who(agent_id, None, None),
    }
    return _operation("try_recall", "/memory/query", body, http_url, api_key, project)


def try_check_guardrails(
    *,
    operation_text: str,
    file_paths: Optional[Sequence[str]] = None,
    agent_id: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Says what a command would destroy, send or give away."""
    body = {"operation_text": operation_text, "file_paths": _texts(file_paths), **_who(agent_id, None, None)}
    return _operation("try_check_guardrails", "/guardrails/check", body, http_url, api_key, project)


def try_register(
    *,
    agent_id: Optional[str] = None,
    agent_type: Optional[str] = None,
    session_id: Optional[str] = None,
    capabilities: Optional[Sequence[str]] = None,
    current_task: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Says that the agent is here, so that others find it. From then on its silence ends what it holds."""
    body = {
        "capabilities": _texts(capabilities),
        "current_task": current_task,
        **_who(agent_id, agent_type, session_id),
    }
    return _operation("try_register", "/agents/register", body, http_url, api_key, project)


def try_heartbeat(
    *,
    agent_id: Optional[str] = None,
    session_id: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Keeps the agent's session and its claimed tasks alive."""
    body = _who(agent_id, None, session_id)
    return _operation("try_heartbeat", "/agents/heartbeat", body, http_url, api_key, project)


def try_discover(
    *,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Lists the agents that are here."""
    return _operation("try_discover", "/agents", {}, http_url, api_key, project, method="GET")


def try_check_policy(
    *,
    operation: str,
    resource: Optional[str] = None,
    context: Any = None,
    agent_id: Optional[str] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Asks whether the agent may do this."""
    body = {"operation": operation, "resource": resource, "context": context, **_who(agent_id, None, None)}
    return _operation("try_check_policy", "/policy/check", body, http_url, api_key, project)


def try_query_audit(
    *,
    limit: Optional[int] = None,
    http_url: Optional[str] = None,
    api_key: Optional[str] = None,
    project: Optional[str] = None,
) -> Answer:
    """Shows what was done and what was refused, newest first."""
    path = "/audit" if limit is None else f"/audit?limit={quote(str(limit), '', errors='replace')}"
    return _operation("try_query_audit", path, {}, http_url, api_key, project, method="GET")


def _texts(texts: Optional[Sequence[str]]) -> Any:
    """A list; what is none goes as it is, for the coordinator to say what is wrong with it."""
    if isinstance(texts, (list, tuple)):
        return list(texts) or None
    return texts


# The command


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from None


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--http-url", metavar="URL", help="the coordinator's address, in place of COORDINATION_API_URL")
    common.add_argument("--api-key", metavar="KEY", help="the key; better in COORDINATION_API_KEY, which no list shows")
    common.add_argument("--project", metavar="NAME", help="project, in place of the key's")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("--agent-id", metavar="ID", help="who acts, in place of AGENT_ID")
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument("--agent-type", metavar="TYPE", help="its type, in place of AGENT_TYPE")
    session = argparse.ArgumentParser(add_help=False)
    session.add_argument("--session-id", metavar="ID", help="its session, in place of SESSION_ID")

    parser = argparse.ArgumentParser(
        prog="coordination_bridge.py",
        description="Agent Coordinator over HTTP. Prints one JSON object; its status is ok, error or skipped.",
        epilog="Exit codes: 0 done, or skipped because the coordinator is away; 1 refused; 2 the command line is wrong.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function: Callable[..., Answer], about: str, *parents: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about, parents=[common, *parents])
        added.set_defaults(function=function)
        return added

    command("detect", detect_coordination, "Say whether a coordinator is there and what it can do")

    lock = command("lock", try_lock, "Lock what you are about to edit", who, kind, session)
    lock.add_argument("file_path", help="path, or logical key such as db:users")
    lock.add_argument("--reason", help="why, for whoever waits")
    lock.add_argument("--ttl-minutes", type=int, metavar="N", help="how long it lasts (default: 30)")
    unlock = command("unlock", try_unlock, "Give a lock back", who)
    unlock.add_argument("file_path", help="path or logical key")
    command("locks", try_check_locks, "List locks")

    submit = command("submit", try_submit_work, "Add a task", who)
    submit.add_argument("task_type", help="kind of work, such as implement")
    submit.add_argument("task_description")
    submit.add_argument("--input-data", type=_json, metavar="JSON", help="anything for the worker")
    submit.add_argument("--priority", type=int, metavar="N", help="1 first, 10 last (default: 5)")
    submit.add_argument("--depends-on", action="append", metavar="ID", help="task to complete first; may be repeated")
    submit.add_argument("--feature-id", metavar="ID")
    submit.add_argument("--idempotency-key", metavar="KEY", help="repeating the submission under it changes nothing")
    get = command("get", try_get_work, "Claim the next task that is ready", who, kind, session)
    get.add_argument("--task-type", dest="task_types", action="append", metavar="TYPE", help="only such; may be repeated")
    complete = command("complete", try_complete_work, "End a task that you claimed", who)
    complete.add_argument("task_id")
    complete.add_argument("--failed", dest="success", action="store_false", help="it did not succeed")
    complete.add_argument("--result", type=_json, metavar="JSON")
    complete.add_argument("--error-message", metavar="TEXT", help="why it failed")
    command("task", try_get_task, "Show a task").add_argument("task_id")

    write = command("handoff-write", try_handoff_write, "Leave what the next session must know", who, session)
    write.add_argument("summary", help="where the work stands")
    for option, about in (
        ("--completed-work", "what is done"),
        ("--in-progress", "what is begun"),
        ("--decisions", "what was decided, and why"),
        ("--next-steps", "what to do next"),
        ("--relevant-files", "where to look"),
    ):
        write.add_argument(option, action="append", metavar="TEXT", help=f"{about}; may be repeated")
    write.add_argument("--feature-id", metavar="ID")
    write.add_argument("--content", type=_json, metavar="JSON", help="any form")
    read = command("handoff-read", try_handoff_read, "Show where you, or else others, left off", who)
    read.add_argument("--agent-name", metavar="ID", help="whose")
    read.add_argument("--session-id", metavar="ID", help="of which session")
    read.add_argument("--feature-id", metavar="ID", help="on which feature")
    read.add_argument("--limit", type=int, metavar="N", help="how many (default: 1)")

    remember = command("remember", try_remember, "Store what was learnt", who, session)
    remember.add_argument("event_type", help="error, success, decision, discovery or optimization")
    remember.add_argument("summary", help="in a sentence")
    remember.add_argument("--details", type=_json, metavar="JSON")
    remember.add_argument("--outcome", help="positive, negative or neutral")
    remember.add_argument("--lessons", action="append", metavar="TEXT", help="what to do next time; may be repeated")
    remember.add_argument("--tags", action="append", metavar="TAG", help="may be repeated")
    recall = command("recall", try_recall, "Find what agents learnt before", who)
    recall.add_argument("task_description", nargs="?", help="your task, a question, a path or an error's text")
    recall.add_argument("--tags", action="append", metavar="TAG", help="any of; may be repeated")
    recall.add_argument("--event-type", metavar="TYPE")
    recall.add_argument("--limit", type=int, metavar="N", help="how many (default: 10)")

    guardrails = command("guardrails", try_check_guardrails, "Say what a command would destroy or give away", who)
    guardrails.add_argument("operation_text", help="the command, as one word")
    guardrails.add_argument("--file-paths", action="append", metavar="PATH", help="may be repeated")

    register = command("register", try_register, "Say that you are here", who, kind, session)
    register.add_argument("--capabilities", action="append", metavar="NAME", help="may be repeated")
    register.add_argument("--current-task", metavar="TEXT")
    command("heartbeat", try_heartbeat, "Keep your session and your tasks alive", who, session)
    command("discover", try_discover, "List the agents that are here")
    policy = command("policy", try_check_policy, "Ask whether you may do this", who)
    policy.add_argument("operation")
    policy.add_argument("--resource", metavar="NAME")
    policy.add_argument("--context", type=_json, metavar="JSON")
    audit = command("audit", try_query_audit, "Show what was done and what was refused")
    audit.add_argument("--limit", type=int, metavar="N", help="how many (default: 20)")
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command and prints its answer."""
    given = vars(_parser().parse_args(arguments))
    given.pop("command")
    function: Callable[..., Answer] = given.pop("function")
    answer = function(**given)
    # In plain ASCII, which every terminal and pipe can take.
    dump = functools.partial(json.dumps, answer, sort_keys=True)
    print(dump(indent=2) if sys.stdout.isatty() else dump(separators=(",", ":")))
    response = answer.get("response")
    refused = answer["status"] == "error" or (isinstance(response, dict) and response.get("success") is False)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
