"""Drives a server's /mcp with fastmcp: fastmcp_client.py URL KEY."""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

URL, KEY = sys.argv[1:3]


async def main() -> None:
    transport = StreamableHttpTransport(URL, headers={"X-API-Key": KEY, "X-Agent-Id": "fastmcp"})
    async with Client(transport) as client:
        tools = {tool.name for tool in await client.list_tools()}
        assert {"acquire_lock", "get_work", "help"} <= tools, tools
        granted = (await client.call_tool("acquire_lock", {"file_path": "fastmcp.py"})).structured_content
        assert granted["success"] and granted["action"] == "acquired", granted
        [locks] = await client.read_resource("locks://current")
        assert "| fastmcp.py | fastmcp |" in locks.text, locks
        prompt = await client.get_prompt("coordinate_file_edit", {"file_path": "fastmcp.py", "task": "edit"})
        assert "fastmcp.py" in prompt.messages[0].content.text, prompt
        released = (await client.call_tool("release_lock", {"file_path": "fastmcp.py"})).structured_content
        assert released["released"], released
        print(f"{len(tools)} tools; a lock taken, read and released")


asyncio.run(main())
