//! The artifacts of the conformance suite, for tests that read the protocol's official files out of them: in the local Maven repository (`M2_REPO`, or
//! `~/.m2/repository`), where `deploy/conformance/run` puts them.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The group of the suite of the Dataspace Protocol.
pub const DSP_SUITE: &str = "org/eclipse/dataspacetck/dsp";

/// The jars of a module, the newest first; its group as the path that it has in a repository.
pub fn jars(group: &str, module: &str) -> Vec<PathBuf> {
    let repository =
        env::var_os("M2_REPO").map_or_else(|| Path::new(&env::var_os("HOME").unwrap_or_default()).join(".m2/repository"), PathBuf::from);
    let versions = fs::read_dir(repository.join(group).join(module));
    let folders = versions.into_iter().flatten().flatten().map(|version| version.path());
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|file| file.path());
    let mut jars: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|extension| extension == "jar")).collect();
    jars.sort();
    jars.reverse();
    jars
}

/// What a test needs of them. When it is not there, the test fails under `CELLSPACE_SUITE=required`, and else says that it is skipped.
pub fn needed<T>(test: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        assert!(env::var_os("CELLSPACE_SUITE").is_none_or(|it| it != "required"), "{test} needs the suite's artifacts");
        // Not `eprintln!`, which is shown for tests that fail alone.
        let _ = writeln!(std::io::stderr(), "\nskipped: needs the suite's artifacts: {test}");
    }
    found
}
