"""Drives `coordinator mcp` with the MCP project's own client: mcp_client.py BINARY REPOSITORY."""

import asyncio
import os
import sys

from mcp import Client, ClientSession, MCPError, StdioServerParameters, stdio_client

BINARY, REPOSITORY = sys.argv[1:3]
TOOLS = {"acquire_lock", "release_lock", "check_locks", "submit_work", "get_work", "complete_work", "get_task"}


def server(agent: str) -> StdioServerParameters:
    env = {"PATH": os.environ["PATH"], "HOME": REPOSITORY, "AGENT_ID": agent, "AGENT_TYPE": "claude_code_cli"}
    return StdioServerParameters(command=BINARY, args=["mcp"], cwd=REPOSITORY, env=env)


async def ask(client: Client, tool: str, **arguments):
    return (await client.call_tool(tool, arguments)).structured_content


async def contend() -> None:
    async with Client(server("ann")) as ann, Client(server("bob")) as bob:
        names = {tool.name for tool in (await ann.list_tools()).tools}
        assert TOOLS <= names, names

        granted = await ask(ann, "acquire_lock", file_path="src/a.py", reason="new parser")
        assert granted["success"] and granted["action"] == "acquired", granted
        for spelling in ["src/a.py", "./src//a.py", "src/x/../a.py", "src\\a.py"]:
            again = await ask(ann, "acquire_lock", file_path=spelling)
            assert again["action"] == "refreshed" and again["file_path"] == "src/a.py", (spelling, again)
            blocked = await ask(bob, "acquire_lock", file_path=spelling)
            assert not blocked["success"] and blocked["locked_by"] == "ann", (spelling, blocked)
        for cover in ["src/", "src/**/*.py"]:
            blocked = await ask(bob, "acquire_lock", file_path=cover)
            assert blocked["action"] == "blocked" and blocked["lock_reason"] == "new parser", (cover, blocked)
            assert blocked["expires_at"], (cover, blocked)

        locks = await ask(bob, "check_locks")
        assert [lock["file_path"] for lock in locks["result"]] == ["src/a.py"], locks

        try:
            result = await bob.call_tool("acquire_lock", {"file_path": "b.py", "colour": "red"})
            raise AssertionError(f"an unknown field was taken: {result}")
        except MCPError as error:
            assert error.code == -32602 and "colour" in error.message, error

        waiting = asyncio.create_task(ask(bob, "acquire_lock", file_path="src/a.py", wait_seconds=20))
        await asyncio.sleep(0.3)
        released = await ask(ann, "release_lock", file_path="src/a.py")
        assert released["released"], released
        assert (await waiting)["action"] == "acquired"

        task = await ask(ann, "submit_work", task_type="test", task_description="the parser")
        claimed = await ask(bob, "get_work")
        assert claimed["task_id"] == task["task_id"], claimed
        done = await ask(bob, "complete_work", task_id=task["task_id"], success=True, result={"lines": 3})
        assert done["status"] == "completed", done
        shown = await ask(ann, "get_task", task_id=task["task_id"])
        assert shown["task"]["result"] == {"lines": 3}, shown


async def shake_hands() -> None:
    """The handshake of the older protocol versions, which most clients still make."""
    async with stdio_client(server("eve")) as (read, write), ClientSession(read, write) as session:
        answer = await session.initialize()
        assert answer.server_info.name == "agent-coordinator", answer
        result = await session.call_tool("heartbeat", {})
        assert not result.is_error, result


asyncio.run(contend())
asyncio.run(shake_hands())
