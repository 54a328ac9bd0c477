//! The picture: what each agent does, how far the tasks are, who holds which lock and who waits for it, and the end of
//! the audit trail.

use jiff::Timestamp;
use model::audit::{AuditEntry, SYSTEM_AGENT};
use model::key::LockKey;
use model::work::{Task, TaskStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, LineGauge, Paragraph};

use super::report::Report;
use super::story::{Character, Story};

/// One colour for each agent, the same wherever its name stands.
const COLOURS: [Color; 8] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::Blue,
    Color::LightRed,
    Color::LightCyan,
    Color::LightYellow,
];
const DIM: Style = Style::new().fg(Color::DarkGray);
/// The width of a bar that shows how far an edit is.
const BAR: usize = 12;

/// Draws it.
pub fn draw(frame: &mut Frame, story: &Story) {
    let agents = story.agents.len() as u16 + 2;
    let tasks = story.plan.len() as u16 + 2;
    let [head, headline, agents, middle, trail] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(agents),
        Constraint::Max(tasks),
        Constraint::Min(5),
    ])
    .areas(frame.area());
    let [tasks, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
    let [locks, merges] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(right);
    draw_head(frame, head, story);
    frame.render_widget(Paragraph::new(headline_of(story)), headline);
    panel(frame, agents, "agents", story.agents.iter().map(|agent| agent_line(story, agent)).collect());
    panel(frame, tasks, "tasks", task_lines(story, usize::from(tasks.height.saturating_sub(2))));
    panel(frame, locks, "locks", lock_lines(story));
    panel(frame, merges, "main", merge_lines(story, usize::from(merges.height.saturating_sub(2))));
    panel(frame, trail, "audit trail", trail_lines(story, usize::from(trail.height.saturating_sub(2))));
}

fn draw_head(frame: &mut Frame, area: Rect, story: &Story) {
    let done = story.now.tasks.iter().filter(|task| task.status.is_final()).count();
    let all = story.plan.len();
    let [title, gauge, clock] =
        Layout::horizontal([Constraint::Length(26), Constraint::Min(10), Constraint::Length(9)]).areas(area);
    frame.render_widget(Paragraph::new(" Agent Coordinator demo".bold()), title);
    let gauge_of = LineGauge::default()
        .filled_symbol("━")
        .filled_style(Style::new().fg(Color::Green))
        .unfilled_symbol("╌")
        .unfilled_style(DIM)
        .label(format!("{done:>2} of {all} tasks"))
        .ratio(if all == 0 { 0.0 } else { done as f64 / all as f64 });
    frame.render_widget(gauge_of, gauge);
    let elapsed = format!("{:.1} s ", story.started.elapsed().as_secs_f64());
    frame.render_widget(Paragraph::new(elapsed.bold()).right_aligned(), clock);
}

/// What to look at now, in a sentence.
fn headline_of(story: &Story) -> Line<'static> {
    let Some(killing) = &story.killing else {
        let half_way = story.agents.iter().find(|agent| matches!(agent.doing, Some(Report::HalfWay { .. })));
        let words = match half_way {
            Some(agent) => format!(" {} is half-way in an edit, and will be killed now", agent.name),
            None => " One of them will be killed half-way, with locks and a task in its hands".into(),
        };
        return Line::styled(words, DIM);
    };
    let dead = &killing.agent;
    let left = story.dead_session().map(|session| seconds_until(session.expires_at));
    let heir = story.heir().map(|task| {
        let by = task.claimed_by.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{by} has taken {} over", story.task_name(task.task_id))
    });
    let refused = story.trials.iter().filter(|trial| trial.refused).count();
    let words = match (heir, left) {
        (None, Some(left)) => {
            format!("{dead} was killed. What it held stays locked until its session ends, in {left:.1} s")
        }
        (None, None) => format!("{dead}'s session ended: its locks are free, its task is in the queue again"),
        (Some(heir), Some(left)) => format!("{heir}; {dead}'s locks stay until its session ends, in {left:.1} s"),
        (Some(heir), None) => {
            format!("{heir}; {refused} of {} tries with the dead {dead}'s old tokens were refused", story.trials.len())
        }
    };
    let is_settled = story.heir().is_some() && left.is_none();
    let style = Style::new().fg(if is_settled { Color::Green } else { Color::Red }).bold();
    Line::styled(format!(" {words}"), style)
}

fn panel(frame: &mut Frame, area: Rect, title: &'static str, lines: Vec<Line<'static>>) {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(DIM).title(format!(" {title} ").bold());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn agent_line(story: &Story, agent: &Character) -> Line<'static> {
    let is_dead = story.killing.as_ref().is_some_and(|killing| killing.agent == agent.name);
    let mut spans = vec![
        if is_dead { " ✝ ".fg(Color::Red) } else { " ● ".fg(colour(story, &agent.name)) },
        Span::styled(format!("{:<6}", agent.name), name_style(story, &agent.name)),
        format!("{:<10}", agent.task.clone().unwrap_or_default()).bold(),
    ];
    spans.extend(if is_dead { dead_words(story) } else { doing_words(story, agent) });
    Line::from(spans)
}

/// How far an edit is.
fn bar(story: &Story, agent: &Character, written: usize, of: usize) -> [Span<'static>; 2] {
    let filled = BAR * written / of.max(1);
    ["━".repeat(filled).fg(colour(story, &agent.name)), Span::styled("╌".repeat(BAR.saturating_sub(filled)), DIM)]
}

fn dead_words(story: &Story) -> Vec<Span<'static>> {
    let Some(killing) = &story.killing else { return vec![] };
    let mut spans = vec![format!("killed at {:.1} s", killing.after.as_secs_f64()).fg(Color::Red).bold()];
    match (story.heir(), story.dead_session()) {
        (Some(heir), _) => {
            let name = heir.claimed_by.as_ref().map(ToString::to_string).unwrap_or_default();
            spans.push(Span::styled(", its task went to ", DIM));
            spans.push(Span::styled(name.clone(), name_style(story, &name)));
        }
        (None, Some(session)) => {
            spans.push(format!(", its session ends in {:.1} s", seconds_until(session.expires_at)).fg(Color::Red));
        }
        (None, None) => spans.push(", its session has ended".fg(Color::Red)),
    }
    spans
}

fn doing_words(story: &Story, agent: &Character) -> Vec<Span<'static>> {
    let since = agent.since.elapsed().as_secs_f64();
    match &agent.doing {
        None => vec!["starts".fg(DIM.fg.unwrap_or_default())],
        Some(Report::Idle) if agent.ending.is_some() => vec![Span::styled("has gone home", DIM)],
        Some(Report::Idle) => vec![Span::styled("finds nothing to claim", DIM)],
        Some(Report::Waits { key, held_by }) => {
            // The one who held it may have passed it on to another waiter.
            let holder =
                story.now.locks.iter().find(|lock| lock.key.as_str() == key).map(|lock| lock.agent_id.to_string());
            let holder = holder.unwrap_or_else(|| held_by.clone());
            vec![
                Span::raw("waits for "),
                key.clone().bold(),
                Span::raw(" held by "),
                Span::styled(holder.clone(), name_style(story, &holder)),
                Span::styled(format!("  {since:.1} s"), DIM),
            ]
        }
        Some(Report::Edits { path, of: 1, .. }) => {
            vec![Span::raw("adds its line to "), Span::styled(path.clone(), colour(story, &agent.name))]
        }
        Some(Report::Edits { path, written, of }) => {
            let mut spans = vec![Span::raw(format!("edits {path:<18} "))];
            spans.extend(bar(story, agent, *written, *of));
            spans.push(Span::styled(format!(" {written}/{of}"), DIM));
            spans
        }
        Some(Report::HalfWay { path }) => {
            let mut spans = vec![Span::raw(format!("edits {path:<18} "))];
            spans.extend(bar(story, agent, 1, 2));
            spans.push(" half-way".fg(Color::Red).bold());
            spans
        }
        Some(Report::Claimed { task, attempt }) if *attempt > 1 => {
            vec![format!("takes {task} over").fg(Color::Green).bold()]
        }
        Some(report @ (Report::Merges | Report::Committed { .. } | Report::Completed { .. })) => {
            vec![report.in_words().unwrap_or_default().fg(Color::Green)]
        }
        Some(report) => vec![Span::raw(report.in_words().unwrap_or_default())],
    }
}

/// One line a task; when there is no room, those that are done become one line together.
fn task_lines(story: &Story, room: usize) -> Vec<Line<'static>> {
    let lines = |tasks: &[&Task]| tasks.iter().map(|task| task_line(story, task)).collect::<Vec<_>>();
    let all: Vec<&Task> = story.now.tasks.iter().collect();
    if all.len() <= room {
        return lines(&all);
    }
    let (done, open): (Vec<&Task>, Vec<&Task>) = all.into_iter().partition(|task| task.status.is_final());
    let mut shown = vec![];
    if !done.is_empty() {
        let names: Vec<String> = done.iter().map(|task| story.task_name(task.task_id)).collect();
        shown.push(Line::from(vec![" ✔ ".fg(Color::Green), Span::styled(names.join(" "), DIM)]));
    }
    let (held, waiting): (Vec<&Task>, Vec<&Task>) = open.into_iter().partition(|task| task.status.is_held());
    shown.extend(lines(&held));
    shown.extend(lines(&waiting));
    shown
}

fn task_line(story: &Story, task: &Task) -> Line<'static> {
    let name = format!("{:<10}", story.task_name(task.task_id));
    let holder = task.claimed_by.as_ref().map(|agent| agent.to_string()).unwrap_or_default();
    let holder = Span::styled(format!("{holder:<6}"), name_style(story, &holder));
    let again = match task.attempt {
        0 | 1 => Span::raw(""),
        attempt => format!("attempt {attempt} ").fg(Color::Yellow),
    };
    match task.status {
        TaskStatus::Completed => Line::from(vec![" ✔ ".fg(Color::Green), Span::styled(name, DIM), holder, again]),
        TaskStatus::Failed => Line::from(vec![" ✘ ".fg(Color::Red), Span::raw(name), holder, again]),
        TaskStatus::Claimed | TaskStatus::Running => {
            Line::from(vec![" ▶ ".fg(Color::Yellow), name.bold(), holder, again])
        }
        TaskStatus::Pending => {
            let mut spans = vec![Span::styled(" · ", DIM), Span::raw(name)];
            let is_done = |need: &String| {
                let done = |t: &&Task| t.status == TaskStatus::Completed && story.task_name(t.task_id) == *need;
                story.now.tasks.iter().any(|t| done(&t))
            };
            let needs = story.work(task.task_id).map_or(&[][..], |work| &work.needs);
            let (done, open): (Vec<&String>, Vec<&String>) = needs.iter().partition(|need| is_done(need));
            if open.is_empty() {
                spans.push("ready".fg(Color::Green));
            } else {
                spans.push(Span::styled("needs ", DIM));
                spans.extend(open.iter().map(|need| Span::raw(format!("{need} "))));
                spans.extend(done.iter().map(|need| format!("✔{need} ").fg(Color::DarkGray)));
            }
            Line::from(spans)
        }
    }
}

/// Each lock with its holder, its token, and who waits for it; and what is free but not fetched yet by who is next.
fn lock_lines(story: &Story) -> Vec<Line<'static>> {
    let (locks, waiters) = (&story.now.locks, &story.now.waiters);
    let held = locks.iter().map(|lock| {
        let holder = lock.agent_id.to_string();
        let style = name_style(story, &holder);
        let token = format!("#{:<4}", lock.fencing_token);
        lock_line(story, &lock.key, [Span::styled(format!("{holder:<5}"), style), Span::styled(token, DIM)])
    });
    let is_held = |key: &LockKey| locks.iter().any(|lock| lock.key.overlaps(key));
    let mut free: Vec<&LockKey> = waiters.iter().flat_map(|waiter| &waiter.keys).filter(|key| !is_held(key)).collect();
    free.sort();
    free.dedup();
    let free =
        free.into_iter().map(|key| lock_line(story, key, [Span::styled(format!("{:<10}", "free"), DIM), "".into()]));
    held.chain(free).collect()
}

fn lock_line(story: &Story, key: &LockKey, holder: [Span<'static>; 2]) -> Line<'static> {
    let mut spans = vec![Span::raw(format!(" {:<18} ", key.as_str()))];
    spans.extend(holder);
    let waits = story.now.waiters.iter().filter(|waiter| waiter.keys.iter().any(|other| other.overlaps(key)));
    for (at, waiter) in waits.enumerate() {
        let name = waiter.agent_id.to_string();
        spans.push(Span::styled(if at == 0 { "◂ " } else { " " }, DIM));
        spans.push(Span::styled(name.clone(), name_style(story, &name)));
    }
    Line::from(spans)
}

/// The last merges into main, newest first.
fn merge_lines(story: &Story, room: usize) -> Vec<Line<'static>> {
    let line = |merge: &super::story::Merged| {
        Line::from(vec![
            Span::styled(format!(" {:>5.1} s ", story.seconds_to(merge.at)), DIM),
            Span::raw(format!("{:.8} ", merge.commit)),
            Span::raw(format!("{:<10}", merge.task)),
            Span::styled(merge.agent.clone(), name_style(story, &merge.agent)),
        ])
    };
    story.merges.iter().rev().take(room).map(line).collect()
}

/// The trail's last rows, without signs of life and vain questions.
fn trail_lines(story: &Story, room: usize) -> Vec<Line<'static>> {
    let worth_telling =
        |row: &&AuditEntry| row.operation != "heartbeat" && (row.operation != "get_work" || row.success);
    let mut rows: Vec<&AuditEntry> = story.now.trail.iter().rev().filter(worth_telling).take(room).collect();
    rows.reverse();
    rows.into_iter().map(|row| trail_line(story, row)).collect()
}

fn trail_line(story: &Story, row: &AuditEntry) -> Line<'static> {
    let result = match &row.error_message {
        Some(code) => Span::styled(code.clone(), Color::Yellow),
        None if row.operation == "acquire_lock" => {
            let token = row.result["grants"][0]["fencing_token"].as_i64().unwrap_or_default();
            Span::styled(format!("#{token}"), DIM)
        }
        None => Span::raw(""),
    };
    let name = if row.agent_id == SYSTEM_AGENT { "·" } else { row.agent_id.as_str() };
    let style = if row.agent_id == SYSTEM_AGENT { Style::new().fg(Color::Red) } else { Style::new() };
    Line::from(vec![
        Span::styled(format!(" {:>6.2} s {:>4} ", story.seconds_to(row.created_at), row.seq), DIM),
        Span::styled(format!("{name:<6}"), name_style(story, name)),
        Span::styled(format!("{:<19}", row.operation), style),
        Span::styled(format!("{} ", object_of(story, row)), style),
        result,
    ])
}

/// What an operation was about.
fn object_of(story: &Story, row: &AuditEntry) -> String {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let name = |value: &serde_json::Value| Some(story.task_name(value.as_str()?.parse().ok()?));
    let (parameters, result) = (&row.parameters, &row.result);
    let keys = parameters["file_paths"].as_array().map(|keys| {
        let keys: Vec<&str> = keys.iter().filter_map(serde_json::Value::as_str).collect();
        keys.join(" ")
    });
    let object = match row.operation.as_str() {
        "acquire_lock" | "release_lock" => keys.or_else(|| text(&parameters["file_path"])),
        "submit_work" => text(&parameters["input_data"]["name"]),
        "get_work" => name(&result["task_id"]),
        "complete_work" => name(&parameters["task_id"]),
        "disconnect_session" => text(&parameters["agent_id"]).map(|agent| {
            let (locks, tasks) = (&parameters["locks_released"], &parameters["tasks_requeued"]);
            format!("of {agent}: locks released {locks}, tasks put back {tasks}")
        }),
        _ => None,
    };
    object.unwrap_or_default()
}

fn colour(story: &Story, name: &str) -> Color {
    let index = story.agents.iter().position(|agent| agent.name == name);
    index.and_then(|index| COLOURS.get(index)).copied().unwrap_or(Color::Reset)
}

fn name_style(story: &Story, name: &str) -> Style {
    let style = Style::new().fg(colour(story, name));
    let is_dead = story.killing.as_ref().is_some_and(|killing| killing.agent == name);
    if is_dead { style.add_modifier(Modifier::CROSSED_OUT) } else { style }
}

fn seconds_until(end: Timestamp) -> f64 {
    (end.as_microsecond() - Timestamp::now().as_microsecond()).max(0) as f64 / 1e6
}
