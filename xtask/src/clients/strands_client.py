"""A strands agent whose model is a script, on a server's /mcp: strands_client.py URL KEY."""

import sys
from contextlib import asynccontextmanager

from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from strands import Agent
from strands.models import Model
from strands.tools.mcp import MCPClient

URL, KEY = sys.argv[1:3]


class Script(Model):
    """Asks for the next tool each time, and then is done."""

    def __init__(self, steps):
        self.steps = steps

    def update_config(self, **config):
        pass

    def get_config(self):
        return {}

    async def structured_output(self, *arguments, **more):
        raise NotImplementedError
        yield

    async def stream(self, messages, tool_specs=None, system_prompt=None, **more):
        done = sum("toolResult" in block for message in messages for block in message["content"])
        yield {"messageStart": {"role": "assistant"}}
        if done < len(self.steps):
            name, arguments = self.steps[done]
            assert any(tool["name"] == name for tool in tool_specs), tool_specs
            yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": f"call-{done}"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": arguments}}}}
        else:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": "DONE"}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if done < len(self.steps) else "end_turn"}}


@asynccontextmanager
async def connect():
    headers = {"X-API-Key": KEY, "X-Agent-Id": "strands"}
    async with create_mcp_http_client(headers=headers) as client, streamable_http_client(URL, http_client=client) as streams:
        yield streams


steps = [("acquire_lock", '{"file_path": "strands.py"}'), ("release_lock", '{"file_path": "strands.py"}')]
with MCPClient(connect) as client:
    tools = client.list_tools_sync()
    agent = Agent(model=Script(steps), tools=tools, callback_handler=None)
    agent("go")
    results = [block["toolResult"] for message in agent.messages for block in message["content"] if "toolResult" in block]
    assert [result["status"] for result in results] == ["success"] * 2, results
    assert '"action":"acquired"' in str(results[0]).replace(" ", ""), results
    print(f"{len(tools)} tools; a scripted agent took and released a lock")
