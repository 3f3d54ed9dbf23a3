//! What the nodes that are left say of themselves meanwhile.

use crate::measure::counters::Metrics;
use anyhow::Result;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// What is looked at, and as what its greatest value on one node is told.
const LOOKED_AT: [(&str, &str); 3] = [
    ("cellspace_activations_loading", "activations_at_once"),
    ("cellspace_activations_waiting", "activations_waiting"),
    ("cellspace_activations_limit", "activations_limit"),
];

/// Looks at nodes until it is told to end.
pub struct Watch {
    stop: watch::Sender<bool>,
    looks: JoinHandle<Result<BTreeMap<&'static str, f64>>>,
}

impl Watch {
    /// Begins to look at these operations listeners.
    pub fn begin(ops: Vec<String>) -> Self {
        let stop = watch::Sender::new(false);
        let looks = tokio::spawn(look(ops, stop.subscribe()));
        Self { stop, looks }
    }

    /// The greatest values.
    ///
    /// # Errors
    /// When a node does not answer.
    pub async fn end(self) -> Result<BTreeMap<String, Value>> {
        self.stop.send_replace(true);
        Ok(self.looks.await??.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
    }
}

async fn look(ops: Vec<String>, stop: watch::Receiver<bool>) -> Result<BTreeMap<&'static str, f64>> {
    let (http, mut most) = (reqwest::Client::new(), LOOKED_AT.map(|(_, name)| (name, 0.0_f64)).into_iter().collect::<BTreeMap<_, _>>());
    while !*stop.borrow() {
        for node in &ops {
            let metrics = Metrics::at(&http, node).await?;
            for (series, name) in LOOKED_AT {
                most.entry(name).and_modify(|most| *most = most.max(metrics.value(series)));
            }
        }
        sleep(PAUSE).await;
    }
    Ok(most)
}
