//! House rules that the compiler does not hold.

use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Which workspace packages each one may depend on, directly.
const ARROWS: [(&str, &[&str]); 7] = [
    ("cellspace-schemas", &[]),
    ("cellspace-storage", &["cellspace-schemas"]),
    ("cellspace-cluster", &["cellspace-schemas", "cellspace-storage"]),
    ("cellspace-actors", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster"]),
    ("cellspace-client", &["cellspace-schemas"]),
    ("cellspace", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster", "cellspace-actors", "cellspace-client"]),
    ("loadtest", &["cellspace-schemas", "cellspace-client"]),
];

#[test]
fn packages_depend_downward_only() {
    let out =
        Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root()).output();
    let metadata: Value = serde_json::from_slice(&out.unwrap().stdout).unwrap();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), arrows.len(), "a package is missing in the table");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = arrows.get(name).unwrap_or_else(|| panic!("unknown package {name}"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let (to, kind) = (dependency["name"].as_str().unwrap(), dependency["kind"].as_str());
            let ours = arrows.contains_key(to);
            assert!(!ours || allowed.contains(&to) || kind == Some("dev"), "{name} must not depend on {to}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Only `storage` knows a database, only `gateway` (and `loadtest`) status codes of answers, only `cluster` the actor library.
#[test]
fn libraries_stay_in_their_layer() {
    let mut files = Vec::new();
    sources(root(), &mut files);
    assert!(files.len() > 50, "the sources were not found");
    for (library, layers) in
        [("fjall::", &["storage"][..]), ("ractor::", &["cluster"]), ("warp::", &["gateway"]), ("clap::", &["gateway", "loadtest"])]
    {
        for (name, text) in &files {
            let layer = name.split('/').next().unwrap();
            let here = name.ends_with("architecture.rs");
            assert!(here || layers.contains(&layer) || !text.contains(library), "{name} must not use {library}");
        }
    }
}

#[test]
fn every_crate_forbids_unsafe_code() {
    for root_file in [
        "schemas/src/lib.rs",
        "storage/src/lib.rs",
        "cluster/src/lib.rs",
        "actors/src/lib.rs",
        "gateway/src/lib.rs",
        "gateway/src/main.rs",
        "loadtest/src/main.rs",
    ] {
        let text = std::fs::read_to_string(root().join(root_file)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{root_file}");
    }
}
