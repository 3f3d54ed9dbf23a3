//! What a scenario answers: an object, and a text for people.

use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write};

/// Figures of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// Operations a second that went as they must.
    pub ops_per_s: f64,
    /// Half of them took at most so long.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// Operations that went wrong; those that were shed are among them, unless the platform was to be overloaded.
    pub errors: u64,
    /// Operations answered by 429 or 503 with `Retry-After`.
    pub shed: u64,
    /// Processor time of the platform per operation that went as it must, in microseconds.
    pub server_cpu_us_per_op: f64,
    /// Resident memory of the platform at the end, in MiB.
    pub server_rss_mib: f64,
    /// Batches that its store applied.
    pub commits: u64,
    /// Syncs to disk.
    pub syncs: u64,
    /// Bytes handed to its store.
    pub bytes: u64,
    /// What the machine can do, measured in the same run.
    pub calibration: BTreeMap<String, f64>,
    /// How many times as much as what the machine can do an operation takes, each by what it is compared with: 1 is the machine's own.
    pub ratios: BTreeMap<String, f64>,
    /// What this scenario alone has.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
    /// The first errors.
    #[serde(skip)]
    pub told: Vec<String>,
}

impl Report {
    /// Puts in what the machine can do, and the ratios to it.
    pub fn compare(&mut self, calibration: BTreeMap<String, f64>) {
        let of = |name: &str| calibration.get(name).copied().unwrap_or(0.0);
        let verifications = |name: &str| self.server_cpu_us_per_op * of(name) / 1e6;
        let ratios = [
            ("rate_to_echo", of("echo_per_s") / self.ops_per_s),
            ("p50_to_echo", self.p50_ms / of("echo_p50_ms")),
            ("cpu_to_echo", self.server_cpu_us_per_op / of("echo_server_cpu_us")),
            ("cpu_to_ed25519_verify", verifications("ed25519_verify_per_s")),
            ("cpu_to_es256_verify", verifications("es256_verify_per_s")),
            ("p50_to_fdatasync", self.p50_ms * 1_000.0 / of("fdatasync_us")),
        ];
        // What nothing was measured of says nothing; and only what is synced waits for the disk.
        let told = |(name, ratio): &(&str, f64)| ratio.is_finite() && *ratio > 0.0 && (self.syncs > 0 || *name != "p50_to_fdatasync");
        self.ratios = ratios.into_iter().filter(told).map(|(name, ratio)| (name.to_owned(), ratio)).collect();
        self.calibration = calibration;
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<30} {value}");
        };
        line("operations/s", format!("{:.0}", self.ops_per_s));
        line("latency p50 / p95 / p99", format!("{:.2} / {:.2} / {:.2} ms", self.p50_ms, self.p95_ms, self.p99_ms));
        line("errors, shed", format!("{}, {}", self.errors, self.shed));
        line("platform: CPU per operation", format!("{:.1} us", self.server_cpu_us_per_op));
        line("platform: resident", format!("{:.1} MiB", self.server_rss_mib));
        line("platform: commits, syncs, bytes", format!("{}, {}, {}", self.commits, self.syncs, self.bytes));
        for (name, value) in &self.more {
            line(name, value.to_string());
        }
        for (name, value) in &self.calibration {
            line(&format!("machine: {name}"), format!("{value:.1}"));
        }
        for (name, value) in &self.ratios {
            line(&format!("ratio: {name}"), format!("{value:.1}"));
        }
        for error in &self.told {
            line("error", error.clone());
        }
        format!("{}\n{text}", self.scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_object_has_the_promised_fields() {
        let report = Report {
            scenario: "x".to_owned(),
            ops_per_s: 1.0,
            p50_ms: 1.0,
            p95_ms: 1.0,
            p99_ms: 1.0,
            errors: 0,
            shed: 0,
            server_cpu_us_per_op: 1.0,
            server_rss_mib: 1.0,
            commits: 1,
            syncs: 1,
            bytes: 1,
            calibration: BTreeMap::from([("echo_per_s".to_owned(), 2.0)]),
            ratios: BTreeMap::new(),
            more: BTreeMap::from([("resident_bytes_per_participant".to_owned(), json!(3))]),
            told: Vec::new(),
        };
        let object = serde_json::to_value(&report).unwrap();
        let names: Vec<&String> = object.as_object().unwrap().keys().collect();
        let expected = [
            "bytes",
            "calibration",
            "commits",
            "errors",
            "ops_per_s",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "ratios",
            "resident_bytes_per_participant",
            "scenario",
            "server_cpu_us_per_op",
            "server_rss_mib",
            "shed",
            "syncs",
        ];
        assert_eq!(names, expected);
        assert_eq!(object["calibration"]["echo_per_s"], 2.0);
    }

    #[test]
    fn ratios_say_how_much_more_than_the_machine_an_operation_takes() {
        let mut report = Report { ops_per_s: 500.0, p50_ms: 4.0, server_cpu_us_per_op: 100.0, syncs: 1, ..Report::default() };
        let measured = [
            ("echo_per_s", 10_000.0),
            ("echo_p50_ms", 0.5),
            ("echo_server_cpu_us", 10.0),
            ("ed25519_verify_per_s", 20_000.0),
            ("es256_verify_per_s", 5_000.0),
            ("fdatasync_us", 200.0),
        ];
        let calibration: BTreeMap<String, f64> = measured.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        report.compare(calibration.clone());
        let expected = [
            ("cpu_to_echo", 10.0),
            ("cpu_to_ed25519_verify", 2.0),
            ("cpu_to_es256_verify", 0.5),
            ("p50_to_echo", 8.0),
            ("p50_to_fdatasync", 20.0),
            ("rate_to_echo", 20.0),
        ];
        assert_eq!(report.ratios, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        assert_eq!(report.calibration, calibration);
        let mut nothing = Report { server_cpu_us_per_op: 100.0, p50_ms: 1.0, ..Report::default() };
        nothing.compare(calibration);
        assert_eq!(
            nothing.ratios.keys().collect::<Vec<_>>(),
            ["cpu_to_echo", "cpu_to_ed25519_verify", "cpu_to_es256_verify", "p50_to_echo"]
        );
    }
}
