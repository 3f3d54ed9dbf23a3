//! Metrics of the process, in the Prometheus text format. No label names a participant: their number has no bound.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use std::sync::OnceLock;

/// Bounds of the time buckets, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The process's metrics; the recorder is installed on first use.
pub fn handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        // Refused for an empty list alone.
        let builder = builder.set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!(category = "app", "another metrics recorder is installed; /metrics stays empty");
        }
        describe();
        handle
    })
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
    metrics::describe_gauge!("cellspace_agents_parked", "Agents parked after repeated failures, by kind");
    metrics::describe_gauge!("cellspace_outbox_rows", "Undelivered outbox rows of agents in memory, by kind");
    metrics::describe_counter!("cellspace_dead_letters_total", "Outbox rows given up, by kind, and events given up, by topic and group");
    metrics::describe_counter!("cellspace_dead_letters_dropped_total", "Dead letters for which there was no place, or no more, by kind");
    metrics::describe_counter!("cellspace_outbox_dropped_total", "Outbox rows aside for which there was no room, by kind");
    metrics::describe_counter!("cellspace_breakers_opened_total", "Hosts that stopped answering deliveries");
    metrics::describe_counter!("cellspace_store_commits_total", "Batches applied by the store");
    metrics::describe_counter!("cellspace_store_syncs_total", "Completed syncs to disk; one covers many commits");
    metrics::describe_counter!("cellspace_store_bytes_total", metrics::Unit::Bytes, "Keys and values handed to the store");
    metrics::describe_gauge!("cellspace_store_topic_events", "Events kept of a topic of the event log");
    metrics::describe_counter!("cellspace_store_topic_events_lost_total", "Events of a topic that nobody reads, gone beyond its bound");
}
