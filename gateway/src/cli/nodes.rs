//! `cellspace admin nodes`, `drain` and `finalize`: the nodes of a cell.

use super::{
    admin::{call, print, segment},
    args::{DrainArgs, NodesArgs, PlatformArgs},
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a node may take to hand its slots over.
const PATIENCE: Duration = Duration::from_secs(300);
/// Columns of the table: heading, and field of a node.
const COLUMNS: [(&str, &str); 8] = [
    ("NODE", "node"),
    ("STATE", "state"),
    ("ROLES", "roles"),
    ("SLOTS", "slots"),
    ("LEASE", "lease"),
    ("LEVEL", "level"),
    ("VERSION", "version"),
    ("ENDPOINT", "endpoint"),
];

pub async fn show(args: &NodesArgs) -> Result<()> {
    let nodes = call(&args.platform, Method::GET, "/nodes").await?;
    if args.json {
        print(&nodes)
    } else {
        print!("{}", shown(&nodes));
    }
    Ok(())
}

pub async fn drain(args: &DrainArgs) -> Result<()> {
    let DrainArgs { platform, node } = args;
    call(platform, Method::POST, &format!("/nodes/{}/drain", segment(node))).await?;
    let began = Instant::now();
    // Each answer takes its time there.
    loop {
        let nodes = call(platform, Method::GET, "/nodes").await?;
        match nodes.as_array().into_iter().flatten().find(|found| found["node"] == node.as_str()) {
            None => break,
            Some(found) if found["state"] == "outside" => break,
            Some(found) if began.elapsed() > PATIENCE => bail!("{node} still has {} slots", found["slots"]),
            Some(_) => {}
        }
    }
    println!("{node} has handed its slots over");
    Ok(())
}

pub async fn finalize(platform: &PlatformArgs) -> Result<()> {
    let told = call(platform, Method::POST, "/finalize").await?;
    let (level, raised) = (&told["level"], if told["raised"] == true { "now" } else { "as before" });
    println!("the cell writes rows of level {level}, {raised}");
    let held_back: Vec<_> = told["heldBackBy"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if held_back.is_empty() {
        return Ok(());
    }
    bail!("of an earlier build than others: {}", held_back.join(", "))
}

/// The nodes of a cell, as text.
pub(super) fn shown(nodes: &Value) -> String {
    match nodes.as_array() {
        Some(nodes) if nodes.is_empty() => {
            "this platform is one process, which is no part of a cell and serves all participants\n".to_owned()
        }
        Some(_) | None => table(nodes),
    }
}

fn table(nodes: &Value) -> String {
    let cell = |node: &Value, field: &str| match &node[field] {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let rows = nodes.as_array().into_iter().flatten().map(|node| COLUMNS.map(|(_, field)| cell(node, field)));
    let all: Vec<[String; 8]> = std::iter::once(COLUMNS.map(|(heading, _)| heading.to_owned())).chain(rows).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            let width = all.iter().filter_map(|row| row.get(n)).map(String::len).max().unwrap_or(0);
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_shown_in_columns() {
        let node = |name: &str, slots| json!({"node": name, "state": "member", "roles": ["gateway", "runtime"], "slots": slots, "lease": "renewed", "level": 1, "version": "1", "endpoint": "h:1"});
        let expected = "NODE    STATE   ROLES            SLOTS  LEASE    LEVEL  VERSION  ENDPOINT\n\
                        a       member  gateway,runtime  4000   renewed  1      1        h:1\n\
                        node-2  member  gateway,runtime  96     renewed  1      1        h:1\n";
        assert_eq!(table(&json!([node("a", 4000), node("node-2", 96)])), expected);
    }
}
