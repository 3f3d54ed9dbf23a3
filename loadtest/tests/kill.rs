//! Kill -9 loses and doubles nothing. Seed from `CELLSPACE_SEED`, or a fresh one that is printed; rounds from `CELLSPACE_KILL_ROUNDS`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use loadtest::{
    kill::{self, Plan},
    platform,
};
use std::{path::PathBuf, process::Command};

/// Builds the platform with its crash points and sets the executable aside, so that later builds do not replace it.
fn build(folder: &std::path::Path) -> PathBuf {
    let out = Command::new(env!("CARGO"))
        .args(["build", "--package", "cellspace", "--features", "failpoints", "--message-format", "json", "--quiet"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let built = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap();
    let aside = folder.join("cellspace");
    std::fs::copy(built, &aside).unwrap();
    aside
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_loses_and_doubles_nothing() {
    let seed = cellspace_schemas::testkit::seed();
    let rounds = std::env::var("CELLSPACE_KILL_ROUNDS").map_or(30, |text| text.parse().unwrap());
    let folder = platform::workspace(None).unwrap();
    let plan = Plan { binary: build(folder.path()), folder: folder.path().to_owned(), rounds, seed, tape: None };
    let result = kill::run(&plan, |line| println!("{line}")).await;
    match result {
        Ok(report) => {
            println!("{report:?}");
            let each = usize::try_from(rounds).unwrap();
            assert_eq!([report.negotiations, report.transfers, report.pulls, report.assets], [each; 4]);
            // Over a full run every kind of end and of work must have happened, or the test shows nothing.
            let all = report.points.len() == kill::POINTS.len() && report.relapses > 0 && report.disposed > 0;
            assert!(rounds < 30 || (all && report.kills == rounds / 2), "{report:?}");
        }
        Err(error) => panic!("{error:#}\nCELLSPACE_SEED={seed}; data and log are kept in {}", folder.keep().display()),
    }
}
