//! House rules that the compiler does not hold.

use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Which workspace packages each one may depend on, directly.
const ARROWS: [(&str, &[&str]); 9] = [
    ("cellspace-schemas", &[]),
    ("cellspace-storage", &["cellspace-schemas"]),
    ("cellspace-cluster", &["cellspace-schemas", "cellspace-storage"]),
    ("cellspace-actors", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster"]),
    ("cellspace-client", &["cellspace-schemas"]),
    ("cellspace", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster", "cellspace-actors", "cellspace-client"]),
    ("loadtest", &["cellspace-schemas", "cellspace-client"]),
    ("loadtest-fill", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster", "cellspace-actors"]),
    ("loadtest-parts", &["cellspace-schemas", "cellspace-storage", "cellspace-cluster", "cellspace-actors", "loadtest"]),
];

/// The workspace's packages, as cargo knows them.
fn packages() -> Vec<Value> {
    let out =
        Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root()).output();
    let metadata: Value = serde_json::from_slice(&out.unwrap().stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn packages_depend_downward_only() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let packages = packages();
    assert_eq!(packages.len(), arrows.len(), "a package is missing in the table");
    for package in &packages {
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

/// Name and text of every source file below the workspace's `folder`.
fn sources_of(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let folder = root().join(folder);
    if folder.exists() {
        sources(&folder, &mut files);
    }
    files
}

/// The sources below `folder` that are compiled into the product: not the modules of tests, which their parents declare as such.
fn product_of(folder: &str) -> Vec<(String, String)> {
    let mut files = sources_of(folder);
    let mut tests = Vec::new();
    for (name, text) in &files {
        let path = Path::new(name);
        let module = matches!(path.file_name().and_then(|n| n.to_str()), Some("mod.rs" | "lib.rs" | "main.rs"));
        let below = if module { path.parent().unwrap().to_owned() } else { path.with_extension("") };
        for declared in text.split("#[cfg(test)]\n").skip(1) {
            let line = declared.lines().next().unwrap().trim().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            let found = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            tests.extend(found.map(|module| below.join(module)));
        }
    }
    files.retain(|(name, _)| !tests.iter().any(|test| Path::new(name).with_extension("").starts_with(test)));
    files.iter_mut().for_each(|(_, text)| *text = product(text));
    files
}

/// The text of a file without comments, and without its tests, which stand at the end.
fn product(text: &str) -> String {
    let code = text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at]);
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether the code names something in `path`, as `path::...`, the word beginning there.
fn names(code: &str, path: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(&format!("{path}::")).any(|(at, _)| !code[..at].ends_with(word))
}

/// Only `storage` knows a database, only `gateway` the HTTP server, only `cluster` the actor library.
#[test]
fn libraries_stay_in_their_layer() {
    let files = sources_of("");
    assert!(files.len() > 50, "the sources were not found");
    for (library, layers) in [
        ("fjall", &["storage"][..]),
        ("rdkafka", &["storage"]),
        ("ractor", &["cluster"]),
        ("warp", &["gateway"]),
        ("tower", &["gateway"]),
        ("clap", &["gateway", "loadtest"]),
    ] {
        let mut users = 0;
        for (name, text) in &files {
            let layer = name.split('/').next().unwrap();
            if names(text, library) {
                assert!(layers.contains(&layer), "{name} must not use {library}");
                users += 1;
            }
        }
        assert!(users > 0, "nobody uses {library}: the table is out of date");
    }
}

/// The gateway alone answers, so it alone chooses status codes: the runtime below the agents knows none, agents read those of others and make
/// no HTTP answer, and within the gateway errors get theirs in `render.rs`.
#[test]
fn status_codes_of_answers_are_the_gateways() {
    // What nodes answer each other is no answer to a client.
    let to_clients = |(name, _): &(String, String)| !name.starts_with("cluster/src/link/");
    for (name, code) in ["schemas/src", "storage/src", "cluster/src"].into_iter().flat_map(product_of).filter(to_clients) {
        assert!(!code.contains("StatusCode"), "{name} names status codes");
    }
    for (name, code) in product_of("actors/src") {
        assert!(!code.contains("Response::builder") && !code.contains("Response::new") && !code.contains("status_mut"), "{name} answers");
    }
    // `answer.rs` and `stack.rs` recognise those that library layers put; `ops.rs` answers probes, `nodes.rs` and `received.rs` other nodes.
    let errors = ["http/render", "server/answer", "server/stack", "routes/ops", "server/nodes", "server/received"];
    let errors = errors.map(|name| format!("gateway/src/{name}.rs"));
    let mut found = Vec::new();
    for (name, code) in product_of("gateway/src") {
        for part in code.split("StatusCode::").skip(1) {
            let status: String = part.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            let is_error =
                !matches!(status.as_str(), "" | "OK" | "CREATED" | "ACCEPTED" | "NO_CONTENT" | "PARTIAL_CONTENT" | "NOT_MODIFIED");
            assert!(!is_error || errors.contains(&name), "{name} names {status}: that is for render.rs");
            if is_error {
                found.push(name.clone());
            }
        }
    }
    assert!(errors.iter().all(|name| found.iter().any(|found| found == name)), "the list of exceptions is out of date");
}

#[test]
fn the_data_plane_knows_no_policy() {
    let files = product_of("actors/src/data_plane");
    assert!(files.len() > 5, "the sources were not found");
    for (name, code) in files {
        for module in ["policy", "expressions", "odrl", "cel"] {
            assert!(!names(&code, module), "{name} must not use {module}");
        }
    }
}

/// What a manifest names is used: a dependency by the package's own code, one for tests by that, its tests or its examples.
#[test]
fn every_dependency_is_used() {
    for package in packages() {
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().strip_prefix(root()).unwrap().to_owned();
        let folder_of = |part: &str| folder.join(part).to_string_lossy().into_owned();
        let (product, own) = (product_of(&folder_of("src")), sources_of(&folder_of("src")));
        let (tests, examples) = (sources_of(&folder_of("tests")), sources_of(&folder_of("examples")));
        for dependency in package["dependencies"].as_array().unwrap() {
            let word = dependency["rename"].as_str().or(dependency["name"].as_str()).unwrap().replace('-', "_");
            let used = if dependency["kind"] == "dev" {
                own.iter().chain(&tests).chain(&examples).any(|(_, text)| names(text, &word))
            } else {
                // A feature for tests may bring one.
                let optional = dependency["optional"] == true;
                product.iter().chain(own.iter().filter(|_| optional)).any(|(_, text)| names(text, &word))
            };
            assert!(used, "{} does not use its dependency {word}", package["name"]);
        }
    }
}

/// A failure of a property can be repeated: every block of properties takes the seed that tests print and take back.
#[test]
fn properties_take_their_seed_back() {
    let mut blocks = 0;
    for (name, text) in sources_of("").into_iter().filter(|(name, _)| !name.ends_with("architecture.rs")) {
        for block in text.split("proptest! {\n").skip(1) {
            assert!(block.lines().next().unwrap().contains("testkit::proptest_config()"), "a block of {name} has a seed of its own");
            blocks += 1;
        }
    }
    assert!(blocks > 20, "{blocks}");
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let mut roots = 0;
    for package in packages() {
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"][0].as_str().unwrap();
            if matches!(kind, "lib" | "bin") {
                let path = target["src_path"].as_str().unwrap();
                let text = std::fs::read_to_string(path).unwrap();
                assert!(text.contains("#![forbid(unsafe_code)]"), "{path}");
                roots += 1;
            }
        }
    }
    assert!(roots >= ARROWS.len(), "{roots}");
}
