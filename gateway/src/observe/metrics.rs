//! Metrics of the process, in the Prometheus text format. No label names a participant: their number has no bound.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;
use std::sync::OnceLock;

/// Bounds of the time buckets, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// What is counted by turn, and the bounds of its buckets.
const TURN_INPUTS: &str = "cellspace_turn_inputs";
const INPUTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The process's metrics; the recorder is installed on first use.
pub fn handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!(category = "app", "another metrics recorder is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

fn recorder() -> PrometheusRecorder {
    let buckets = PrometheusBuilder::new().set_buckets(&SECONDS);
    let buckets = buckets.and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(TURN_INPUTS.to_owned()), &INPUTS));
    // Refused for an empty list alone.
    buckets.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder()
}

/// Brings what the system counts of the process to the metrics: processor time, memory, files, threads, by the names that are usual.
pub fn collect_process() {
    Collector::default().collect();
}

fn describe() {
    Collector::default().describe();
    metrics::describe_counter!("cellspace_http_requests_total", "Requests answered, by listener, route, method and status");
    metrics::describe_histogram!("cellspace_http_request_seconds", metrics::Unit::Seconds, "Time until an answer began");
    metrics::describe_gauge!("cellspace_http_requests_in_flight", "Requests under way");
    metrics::describe_counter!(
        "cellspace_http_shed_total",
        "Requests refused for too much load, by listener and reason; those for lag are in no other figure"
    );
    metrics::describe_gauge!(
        "cellspace_http_lag_seconds",
        metrics::Unit::Seconds,
        "Time that a connection would wait for the processor now"
    );
    metrics::describe_counter!("cellspace_cell_slots_closed_total", "Slots that this node was serving and has handed over");
    metrics::describe_counter!(
        "cellspace_http_handshakes_failed_total",
        "Connections that came to nothing before their TLS handshake had ended"
    );
    metrics::describe_counter!("cellspace_http_forwarded_total", "Requests passed on to the node of their owner, by outcome");
    metrics::describe_counter!("cellspace_turns_total", "Turns of agents, by kind; one turn is one commit");
    metrics::describe_histogram!(TURN_INPUTS, "Commands, outcomes and deadlines that a turn took, by kind");
    metrics::describe_gauge!("cellspace_activations", "Agents in memory, by kind");
    metrics::describe_counter!("cellspace_activations_total", "Agents brought to memory, by kind");
    metrics::describe_gauge!("cellspace_activations_loading", "Agents that are read from the store now");
    metrics::describe_gauge!("cellspace_activations_waiting", "Agents that wait for their turn to be read");
    metrics::describe_gauge!("cellspace_activations_limit", "How many agents are read from the store at once, as far as it bears");
    metrics::describe_histogram!(
        "cellspace_activation_seconds",
        metrics::Unit::Seconds,
        "Time until an agent brought to memory took its first turn, by kind"
    );
    metrics::describe_counter!("cellspace_activation_failures_total", "Agents that left memory by a failure, by kind");
    metrics::describe_counter!("cellspace_deliveries_total", "Attempts to deliver outbox rows, by kind and outcome");
    metrics::describe_counter!("cellspace_event_retries_total", "Events whose handling failed and is tried again, by topic and group");
    metrics::describe_counter!(
        "cellspace_consumer_failures_total",
        "Failures after which a consumer of events was started again, by group"
    );
    metrics::describe_gauge!("cellspace_agents_parked", "Agents parked after repeated failures, by kind");
    metrics::describe_gauge!("cellspace_outbox_rows", "Undelivered outbox rows of agents in memory, by kind");
    metrics::describe_counter!("cellspace_dead_letters_total", "Outbox rows given up, by kind, and events given up, by topic and group");
    metrics::describe_counter!("cellspace_dead_letters_dropped_total", "Dead letters for which there was no place, or no more, by kind");
    metrics::describe_counter!("cellspace_outbox_dropped_total", "Outbox rows aside for which there was no room, by kind");
    metrics::describe_counter!("cellspace_breakers_opened_total", "Hosts that stopped answering deliveries");
    metrics::describe_counter!("cellspace_store_commits_total", "Batches applied by the store");
    metrics::describe_counter!("cellspace_store_syncs_total", "Completed syncs to disk; one covers many commits");
    metrics::describe_counter!("cellspace_store_bytes_total", metrics::Unit::Bytes, "Keys and values handed to the store");
    metrics::describe_gauge!("cellspace_store_topic_events", "Events kept of a topic of the event log, or waiting for a log elsewhere");
    metrics::describe_counter!("cellspace_store_topic_events_lost_total", "Events of a topic that nobody takes, gone beyond its bound");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    /// Names of the kind of metric that these sources write.
    fn written(kind: &str, sources: &[String]) -> BTreeSet<String> {
        let (call, described) = (format!("{kind}!(\""), format!("describe_{kind}!(\""));
        let names = sources.iter().flat_map(|source| {
            let calls = source.match_indices(&call).filter(|(at, _)| !source[..at + call.len()].ends_with(&described));
            calls.filter_map(|(at, _)| source[at + call.len()..].split('"').next())
        });
        names.map(str::to_owned).collect()
    }

    fn sources(folder: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push(fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn whatever_is_counted_is_described_and_has_fitting_buckets() {
        let mut all = Vec::new();
        for package in ["storage", "cluster", "actors", "gateway"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src"), &mut all);
        }
        let (counters, gauges, histograms) = (written("counter", &all), written("gauge", &all), written("histogram", &all));
        assert!(counters.len() > 10 && gauges.len() > 5 && histograms.len() >= 3, "{counters:?} {gauges:?} {histograms:?}");
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            counters.iter().for_each(|name| metrics::counter!(name.clone()).increment(1));
            gauges.iter().for_each(|name| metrics::gauge!(name.clone()).set(1.0));
            histograms.iter().for_each(|name| metrics::histogram!(name.clone()).record(3.0));
        });
        let told = recorder.handle().render();
        for name in counters.iter().chain(&gauges).chain(&histograms) {
            assert!(told.contains(&format!("# HELP {name} ")), "{name} is not described");
        }
        assert!(
            told.contains("cellspace_turn_inputs_bucket{le=\"2\"} 0") && told.contains("cellspace_turn_inputs_bucket{le=\"4\"} 1"),
            "{told}"
        );
        assert!(told.contains("cellspace_activation_seconds_bucket{le=\"0.001\"} 0"), "{told}");
    }
}
