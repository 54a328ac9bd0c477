//! Whether hosts may be spoken to, by the network rules of a project that has some.
//!
//! Without any rule there is nothing that a project asked for, and an agent that was just set up would be cut off from
//! everything: the default counts from the first rule on. What no hook can see, `coordinator run` keeps in.

use serde_json::{Value, json};

use crate::desk::{Desk, Trouble, items, text};

/// Why one of these may not be reached, if there is such.
pub async fn refusal(desk: &Desk, addresses: &[String]) -> Result<Option<String>, Trouble> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let listed = desk.ask("list_network_rules", json!({})).await?;
    if items(&listed["rules"]).is_empty() {
        return Ok(None);
    }
    for address in addresses {
        let asked: Value = if address.contains("://") { json!({"url": address}) } else { json!({"domain": address}) };
        let answer = desk.ask("check_network", asked).await?;
        if answer["allowed"] == false {
            return Ok(Some(format!(
                "{} may not be reached from here: {}. Nothing was sent. `coordinator network` shows the rules; who may \
                 change them allows it with `coordinator network allow {0}`.",
                text(&answer, "domain"),
                text(&answer, "reason"),
            )));
        }
    }
    Ok(None)
}
