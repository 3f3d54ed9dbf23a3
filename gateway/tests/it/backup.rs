//! A platform's backup, and another platform that goes on from it.

use crate::{
    meanwhile::{Load, Prepared, catches_up, is_active},
    process::Process,
    support::{Platform, config},
};
use std::{fs, path::Path};
use tokio::task::LocalSet;

/// `cellspace admin COMMAND --data-dir DATA WHERE FILE`: what it says, or why it does not.
async fn admin(command: &str, data: &Path, option: &str, file: &Path) -> Result<String, String> {
    Process::said(file.parent().unwrap(), &["admin", command, "--data-dir", data.to_str().unwrap(), option, file.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_goes_on_from_its_backup() {
    // The clients of the story are made for one thread.
    LocalSet::new().run_until(goes_on()).await;
}

async fn goes_on() {
    let platform = Platform::temporary(|_| ()).await;
    let mut prepared = Prepared::of(&platform).await;
    let sharers = prepared.sharers(&platform).await;
    let mut load = Load::start(&platform, &sharers);
    load.more(3).await;
    load.end().await;
    let late = prepared.late(&platform, "late").await;
    catches_up(&platform, &late).await;
    let negotiated = sharers.negotiated(&platform).await;
    assert!(negotiated.as_array().unwrap().len() >= 3, "{negotiated}");

    let place = tempfile::tempdir().unwrap();
    let (file, new) = (place.path().join("backup"), place.path().join("data"));
    let held = admin("backup", platform.data_dir(), "--to", &file).await.unwrap_err();
    assert!(held.contains("is in use by") && !file.exists(), "{held}");
    let old = platform.ended().await;
    let said = admin("backup", old.path(), "--to", &file).await.unwrap();
    assert!(said.contains("records of"), "{said}");
    assert!(admin("backup", old.path(), "--to", &file).await.unwrap_err().contains("is there already"));

    // Something else than was written is refused before anything is.
    let mut bytes = fs::read(&file).unwrap();
    let (tampered, middle) = (place.path().join("tampered"), bytes.len() / 2);
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    fs::write(&tampered, bytes).unwrap();
    let damaged = admin("restore", &new, "--from", &tampered).await.unwrap_err();
    assert!(damaged.contains("the backup is damaged") && !new.exists(), "{damaged}");
    let key = fs::read_to_string(old.path().join("master.key")).unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains(key.trim()), "the master key is in the backup");

    admin("restore", &new, "--from", &file).await.unwrap();
    let twice = admin("restore", &new, "--from", &file).await.unwrap_err();
    assert!(twice.contains("holds data already"), "{twice}");
    // What an operator keeps apart from backups.
    for name in ["master.key", "bootstrap-client.json"] {
        fs::copy(old.path().join(name), new.join(name)).unwrap();
    }
    drop(old);
    let platform = Platform::start(config(&new)).await;
    assert!(is_active(&platform, &late, "1s").await);
    assert_eq!(sharers.negotiated(&platform).await, negotiated);
    sharers.are_believed(&platform).await;
    let mut load = Load::start(&platform, &sharers);
    load.more(3).await;
    load.end().await;
    let later = prepared.late(&platform, "later").await;
    catches_up(&platform, &later).await;
}
