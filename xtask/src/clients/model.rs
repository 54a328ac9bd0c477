//! A script in the place of a model: it speaks the languages of the three services that the command lines know.
//!
//! The step to take is the number of tool results that a conversation holds already. The script may be written while it
//! runs: the command line waits for its model's answer, as it would for a slow one, until there is a next step. So whoever
//! writes can look at what came of one step before the next, and let several command lines act in turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

/// A command line that takes longer than this for a step hangs.
const STEP_LIMIT: Duration = Duration::from_secs(90);
/// The largest conversation, in bytes.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// What the model does next.
#[derive(Clone)]
pub enum Step {
    /// Calls the tool whose name ends like this.
    Call(String, Value),
    /// Calls such a tool with a text that is no JSON.
    Write(String, String),
    /// Says something.
    Say(String),
}

impl Step {
    /// A tool call.
    pub fn tool(name: &str, arguments: Value) -> Self {
        Self::Call(name.to_owned(), arguments)
    }
}

/// A running model.
pub struct Model {
    /// Its address.
    pub url: String,
    script: Arc<Script>,
}

struct Script {
    steps: Mutex<Vec<Step>>,
    seen: Mutex<Seen>,
    /// Is told of each new step and of each new result.
    news: watch::Sender<()>,
}

/// What the command line sent.
#[derive(Default)]
struct Seen {
    results: Vec<Value>,
    /// The conversation as it stood last, in its service's own form.
    conversation: String,
}

/// What the script says next.
enum Turn {
    Call(String, Value),
    Write(String, String),
    Say(String),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// Starts it with this much of a script.
    pub async fn start(steps: Vec<Step>) -> anyhow::Result<Self> {
        let (news, _) = watch::channel(());
        let script = Arc::new(Script { steps: Mutex::new(steps), seen: Mutex::default(), news });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = axum::Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, script })
    }

    /// What the tools answered, as the command line told it.
    pub fn results(&self) -> Vec<Value> {
        locked(&self.script.seen).results.clone()
    }

    /// All that the model has been told, in its service's own form.
    pub fn conversation(&self) -> String {
        locked(&self.script.seen).conversation.clone()
    }

    /// Adds a step, and waits until the command line tells what came of it.
    pub async fn take(&self, step: Step) -> anyhow::Result<Value> {
        let mut news = self.script.news.subscribe();
        let at = {
            let mut steps = locked(&self.script.steps);
            steps.push(step);
            steps.len() - 1
        };
        self.script.news.send_replace(());
        let come = news.wait_for(|()| locked(&self.script.seen).results.len() > at);
        timeout(STEP_LIMIT, come).await.context("nothing came of the step")??;
        let result = locked(&self.script.seen).results.get(at).cloned();
        result.context("a result that was there is there no more")
    }

    /// Waits until the command line asks what to do first.
    pub async fn asked(&self) -> anyhow::Result<()> {
        let mut news = self.script.news.subscribe();
        let asked = news.wait_for(|()| !locked(&self.script.seen).conversation.is_empty());
        timeout(STEP_LIMIT, asked).await.context("the model was never asked")??;
        Ok(())
    }

    /// Begins a new script, for a command line that is started anew.
    pub fn forget(&self) {
        locked(&self.script.steps).clear();
        *locked(&self.script.seen) = Seen::default();
    }

    /// Ends the script: the command line is told that all is done.
    pub fn end(&self) {
        locked(&self.script.steps).push(Step::Say("DONE".into()));
        self.script.news.send_replace(());
    }
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.unwrap_or_default();
    let conversation: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.contains("count_tokens") || path.ends_with(":countTokens") {
        return axum::Json(json!({"input_tokens": 1, "totalTokens": 1})).into_response();
    }
    if path.ends_with("/messages") {
        return script.anthropic(&conversation).await;
    }
    if path.ends_with("/responses") {
        return script.openai(&conversation).await;
    }
    if path.to_lowercase().contains("generatecontent") {
        return script.gemini(&conversation, path.contains("stream")).await;
    }
    axum::Json(json!({"data": [], "models": []})).into_response()
}

/// Events as a browser would take them, each named after its type where it has one.
fn events(events: &[Value]) -> Response {
    let text: String = events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().map(|name| format!("event: {name}\n")).unwrap_or_default();
            format!("{name}data: {event}\n\n")
        })
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

impl Script {
    /// The step after these results: a call of one of the tools that are offered, or words.
    async fn next(&self, conversation: &Value, results: Vec<Value>, offered: &[String]) -> Turn {
        if offered.is_empty() {
            // Asked on the side, such as for a title.
            return Turn::Say("ok".into());
        }
        let at = results.len();
        {
            let mut seen = locked(&self.seen);
            if at > seen.results.len() {
                seen.results = results;
            }
            seen.conversation = conversation.to_string();
        }
        self.news.send_replace(());
        let mut news = self.news.subscribe();
        if news.wait_for(|()| locked(&self.steps).len() > at).await.is_err() {
            return Turn::Say("the script is gone".into());
        }
        let find = |wanted: &str| {
            let exact = offered.iter().find(|name| *name == wanted);
            exact.or_else(|| offered.iter().find(|name| name.ends_with(wanted))).cloned()
        };
        let missing = |wanted: &str| Turn::Say(format!("there is no tool {wanted} among {offered:?}"));
        let step = locked(&self.steps).get(at).cloned();
        match step {
            Some(Step::Call(wanted, arguments)) => match find(&wanted) {
                Some(name) => Turn::Call(name, arguments),
                None => missing(&wanted),
            },
            Some(Step::Write(wanted, text)) => match find(&wanted) {
                Some(name) => Turn::Write(name, text),
                None => missing(&wanted),
            },
            Some(Step::Say(text)) => Turn::Say(text),
            None => Turn::Say("DONE".into()),
        }
    }

    async fn anthropic(&self, conversation: &Value) -> Response {
        let blocks = each(&conversation["messages"]).flat_map(|message| each(&message["content"]));
        let results: Vec<Value> =
            blocks.filter(|block| block["type"] == "tool_result").map(|block| block["content"].clone()).collect();
        let id = format!("toolu_{}", results.len());
        let offered: Vec<String> = each(&conversation["tools"]).filter_map(|tool| name(&tool["name"])).collect();
        let (block, delta, full, reason) = match self.next(conversation, results, &offered).await {
            Turn::Call(name, input) => (
                json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                json!({"type": "input_json_delta", "partial_json": input.to_string()}),
                json!({"type": "tool_use", "id": id, "name": name, "input": input}),
                "tool_use",
            ),
            Turn::Write(_, text) | Turn::Say(text) => (
                json!({"type": "text", "text": ""}),
                json!({"type": "text_delta", "text": text}),
                json!({"type": "text", "text": text}),
                "end_turn",
            ),
        };
        let usage = json!({"input_tokens": 1, "output_tokens": 1});
        let mut message = json!({
            "id": "message", "type": "message", "role": "assistant", "model": conversation["model"],
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
        });
        if conversation["stream"] != true {
            (message["content"], message["stop_reason"]) = (json!([full]), json!(reason));
            return axum::Json(message).into_response();
        }
        let end = json!({"stop_reason": reason, "stop_sequence": null});
        events(&[
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": end, "usage": usage}),
            json!({"type": "message_stop"}),
        ])
    }

    async fn openai(&self, conversation: &Value) -> Response {
        let outputs = each(&conversation["input"])
            .filter(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("call_output")));
        let results: Vec<Value> = outputs.map(|item| item["output"].clone()).collect();
        // A tool may stand in a namespace, where it has the same name in every namespace.
        let (mut offered, mut spaces) = (vec![], vec![]);
        for tool in each(&conversation["tools"]) {
            let inner: Vec<String> = each(&tool["tools"]).filter_map(|tool| name(&tool["name"])).collect();
            let (names, space) = match inner.is_empty() {
                true => (name(&tool["name"]).into_iter().collect(), None),
                false => (inner, name(&tool["name"])),
            };
            spaces.extend(names.iter().map(|_| space.clone()));
            offered.extend(names);
        }
        let id = format!("call_{}", results.len());
        let item = match self.next(conversation, results, &offered).await {
            Turn::Write(name, text) => {
                json!({"type": "custom_tool_call", "id": id, "call_id": id, "name": name, "input": text})
            }
            Turn::Call(name, arguments) => {
                let mut item = json!({
                    "type": "function_call", "id": id, "call_id": id, "name": name, "arguments": arguments.to_string(),
                });
                let place = offered.iter().position(|offered| *offered == name);
                if let Some(space) = place.and_then(|place| spaces[place].clone()) {
                    item["namespace"] = space.into();
                }
                item
            }
            Turn::Say(text) => json!({
                "type": "message", "role": "assistant", "id": "message",
                "content": [{"type": "output_text", "text": text}],
            }),
        };
        let usage = json!({"input_tokens": 1, "input_tokens_details": null, "output_tokens": 1,
            "output_tokens_details": null, "total_tokens": 2});
        events(&[
            json!({"type": "response.created", "response": {"id": "response"}}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
            json!({"type": "response.completed", "response": {"id": "response", "usage": usage}}),
        ])
    }

    async fn gemini(&self, conversation: &Value, streams: bool) -> Response {
        let parts = each(&conversation["contents"]).flat_map(|content| each(&content["parts"]));
        let results: Vec<Value> =
            parts.filter_map(|part| part.get("functionResponse")).map(|result| result["response"].clone()).collect();
        let declared = each(&conversation["tools"]).flat_map(|tool| each(&tool["functionDeclarations"]));
        let offered: Vec<String> = declared.filter_map(|tool| name(&tool["name"])).collect();
        let part = match self.next(conversation, results, &offered).await {
            Turn::Call(name, arguments) => json!({"functionCall": {"name": name, "args": arguments}}),
            Turn::Write(_, text) | Turn::Say(text) => json!({"text": text}),
        };
        let answer = json!({
            "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        });
        if streams { events(&[answer]) } else { axum::Json(answer).into_response() }
    }
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
