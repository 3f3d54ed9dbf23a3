//! How the load generator ends: nothing is left behind, neither a platform nor its folder, and what went wrong is told.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
};

/// A platform that never becomes ready. It says its process id, and that it has written to its data directory.
const PLATFORM: &str = r#"#!/bin/sh
while [ "$1" != --data-dir ]; do shift; done
mkdir "$2" && echo data > "$2/file"
echo $$ > "$TOLD"
exec sleep 600
"#;

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

#[test]
fn a_signal_ends_the_platform_and_removes_its_folder() {
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let (platform, told, temporary) = (folder.path().join("platform"), folder.path().join("told"), folder.path().join("temporary"));
        std::fs::write(&platform, PLATFORM).unwrap();
        std::fs::set_permissions(&platform, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::create_dir(&temporary).unwrap();
        run(Command::new("mkfifo").arg(&told));
        let mut loadtest = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(["catalog", "--json"])
            .envs([("CELLSPACE_BINARY", &platform), ("TOLD", &told), ("TMPDIR", &temporary)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Comes when the platform has begun.
        let pid = std::fs::read_to_string(&told).unwrap().trim().to_owned();
        let alive = || Path::new("/proc").join(&pid).exists();
        assert!(alive() && std::fs::read_dir(&temporary).unwrap().count() == 1);
        run(Command::new("kill").args([&format!("-{signal}"), &loadtest.id().to_string()]));
        let status = loadtest.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(128 + number), None));
        assert!(!alive(), "the platform {pid} goes on");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the folder is still there");
    }
}

/// A platform that is told something it does not understand.
const REFUSES: &str = "#!/bin/sh\necho 'error: no such option' >&2\nexit 2\n";

#[test]
fn why_the_platform_did_not_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let platform = folder.path().join("platform");
    std::fs::write(&platform, REFUSES).unwrap();
    std::fs::set_permissions(&platform, std::fs::Permissions::from_mode(0o700)).unwrap();
    let told = |transcript: &str| {
        let mut loadtest = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        loadtest.args(["catalog", "--json", "--transcript", transcript]).env("CELLSPACE_BINARY", &platform);
        let ended = loadtest.output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8(ended.stderr).unwrap()
    };
    let refused = told(folder.path().join("transcript").to_str().unwrap());
    assert!(refused.contains("exit status: 2 before it was ready") && refused.contains("error: no such option"), "{refused}");
    // Nothing is begun whose exchanges could not be written.
    let refused = told(folder.path().join("none/transcript").to_str().unwrap());
    assert!(refused.contains("none/transcript") && !refused.contains("no such option"), "{refused}");
}
