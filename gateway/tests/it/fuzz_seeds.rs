//! The fuzz targets over their seeds: inputs made by hand, and those that once showed a defect; as they are, and with changes.

#[path = "../../../loadtest/fuzz/src/targets/mod.rs"]
mod targets;

use proptest::{prelude::*, sample::Index};
use std::{fs, path::Path, sync::OnceLock};
use targets::Target;

/// A target's name, the target, its seeds with their names.
type Seeded = (&'static str, Target, Vec<(String, Vec<u8>)>);

fn seeded() -> &'static [Seeded] {
    static ALL: OnceLock<Vec<Seeded>> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtest/fuzz/seeds");
        let seeds = |name: &str| {
            let files = fs::read_dir(folder.join(name)).unwrap_or_else(|e| panic!("{name} has no seeds: {e}"));
            let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            files.sort();
            files.into_iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect()
        };
        targets::ALL.map(|(name, target)| (name, target, seeds(name))).into()
    })
}

#[test]
fn every_target_takes_its_seeds() {
    for (name, target, seeds) in seeded() {
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (seed, data) in seeds {
            // A panic names the input.
            assert!(std::panic::catch_unwind(|| target(data)).is_ok(), "{name} panicked at {seed}");
        }
    }
}

/// Every target is a binary of the fuzzer, and the other way round.
#[test]
fn every_target_is_a_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtest/fuzz/fuzz_targets");
    let mut binaries: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    binaries.sort();
    assert_eq!(binaries, targets::ALL.map(|(name, _)| name));
}

/// A change of a text at a place.
#[derive(Debug, Clone)]
enum Change {
    Flip(u8),
    Cut(u8),
    Repeat(u8),
    Insert(&'static str),
    /// What stands in another seed from the same place on.
    Splice(Index),
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "null",
        "true",
        "0",
        "-1",
        "1e308",
        "1e-7",
        "18446744073709551616",
        "\\u0000",
        "\\ud800",
        "\u{e9}",
        "@value",
        "@id",
        "@list",
        "odrl:",
        "edc:",
        "did:web:",
        "https://",
        "%2e",
        "%2f",
        "..",
        "/",
        "'",
        " ",
        "\n",
        "=",
        "&",
        "(",
        ")",
        "!",
        "+",
        "9999-12-31T23:59:59.9999999999-01:00",
        "x\u{301}",
    ];
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Flip),
        any::<u8>().prop_map(Change::Cut),
        any::<u8>().prop_map(Change::Repeat),
        prop::sample::select(words.to_vec()).prop_map(Change::Insert),
        any::<Index>().prop_map(Change::Splice),
    ];
    prop::collection::vec((any::<Index>(), change), 1..6)
}

fn changed(mut data: Vec<u8>, changes: &[(Index, Change)], seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    for (place, change) in changes {
        let at = place.index(data.len() + 1);
        let upto = |n: &u8| at + usize::from(*n).min(data.len() - at);
        match change {
            Change::Flip(bits) => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits),
            Change::Cut(n) => drop(data.drain(at..upto(n))),
            Change::Repeat(n) => {
                let part = data[at..upto(n)].to_vec();
                data.splice(at..at, part);
            }
            Change::Insert(word) => drop(data.splice(at..at, word.bytes())),
            Change::Splice(other) => {
                let (_, other) = other.get(seeds);
                data.splice(at.., other[at.min(other.len())..].iter().copied());
            }
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..cellspace_schemas::testkit::proptest_config() })]

    #[test]
    fn every_target_takes_changed_seeds(target in 0..targets::ALL.len(), seed in any::<Index>(), changes in changes()) {
        let (_, target, seeds) = &seeded()[target];
        let (_, data) = seed.get(seeds);
        target(&changed(data.clone(), &changes, seeds));
    }
}
