//! `cellspace admin certs`: certificates for the nodes of a cell and for listeners, for development.

use super::args::CertsArgs;
use anyhow::{Context, Result, bail};
use cellspace_cluster::{
    Clock, NodeName, SystemClock,
    link::{Authority, Issued, PeerName},
};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Certificate and key of the authority, in the directory.
const AUTHORITY: (&str, &str) = ("ca.pem", "ca-key.pem");

/// What the files are called that are shown to clients.
const LISTENERS: &str = "listeners";

/// Makes the authority, unless it is there, and a certificate for each node in the place of the one that it had.
pub fn run(args: &CertsArgs) -> Result<()> {
    let names = args.nodes.iter().map(|node| PeerName::new(&args.cell, &NodeName(node.clone()))).collect::<Result<Vec<_>, _>>()?;
    if names.iter().any(|name| name.node().0 == "ca" || name.node().0 == LISTENERS || name.node().0.ends_with("-key")) {
        bail!("a node that is called ca or listeners, or whose name ends in -key, would take the place of another file");
    }
    let (out, now) = (&args.out, SystemClock.now());
    fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let key_file = out.join(AUTHORITY.1);
    if !key_file.exists() {
        let made = Authority::make(&args.cell, now)?;
        // The key last: without it both are made anew.
        write(&out.join(AUTHORITY.0), &made.certificate, 0o644)?;
        write(&key_file, &made.key, 0o600)?;
    }
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    let authority = Authority::open(&args.cell, &read(&out.join(AUTHORITY.0))?, &read(&key_file)?);
    let authority = authority
        .with_context(|| format!("{} has no authority of {}: give another directory, one for each cell", out.display(), args.cell))?;
    let keep = |name: &str, issued: &Issued| {
        write(&out.join(format!("{name}-key.pem")), &issued.key, 0o600)?;
        write(&out.join(format!("{name}.pem")), &issued.certificate, 0o644)
    };
    for name in names {
        keep(&name.node().0, &authority.issue(&name, now)?)?;
    }
    if !args.hosts.is_empty() {
        keep(LISTENERS, &authority.issue_to(&args.hosts, now)?)?;
    }
    let whom: Vec<&str> = args.nodes.iter().chain(&args.hosts).map(String::as_str).collect();
    println!("{}: certificates of {} for {}", out.display(), args.cell, whom.join(", "));
    Ok(())
}

/// Writes the file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let new = path.with_extension("new");
    let written = || {
        // One that was left half done may be of any mode.
        if new.exists() {
            fs::remove_file(&new)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{ListenerTls, TlsFiles};
    use cellspace_cluster::link::{CertificateFiles, Identity};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_keeps_its_authority_and_nobody_else_reads_keys() {
        let dir = tempfile::tempdir().unwrap();
        let args = |nodes: &[&str]| CertsArgs {
            cell: "c".into(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            hosts: Vec::new(),
            out: dir.path().join("certs"),
        };
        run(&args(&["a", "b"])).unwrap();
        let file = |name: &str| dir.path().join("certs").join(name);
        let (authority, a) = (fs::read(file("ca.pem")).unwrap(), fs::read(file("a.pem")).unwrap());
        run(&args(&["a"])).unwrap();
        assert_eq!(fs::read(file("ca.pem")).unwrap(), authority);
        assert_ne!(fs::read(file("a.pem")).unwrap(), a, "it was renewed");
        for key in ["ca-key.pem", "a-key.pem", "b-key.pem"] {
            assert_eq!(fs::metadata(file(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
        }
        for node in ["a", "b"] {
            let files = CertificateFiles {
                authority: file("ca.pem"),
                certificate: file(&format!("{node}.pem")),
                key: file(&format!("{node}-key.pem")),
            };
            Identity::load(PeerName::new("c", &NodeName(node.into())).unwrap(), files).unwrap();
        }
        run(&CertsArgs { hosts: vec!["localhost".into(), "127.0.0.1".into()], ..args(&[]) }).unwrap();
        ListenerTls::load(TlsFiles { certificate: file("listeners.pem"), key: file("listeners-key.pem") }).unwrap();
        assert_eq!(fs::metadata(file("listeners-key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        // What would pass for a node is no listener's.
        for host in ["bücher", "a.c.cellspace.internal", "*.c.cellspace.internal"] {
            let before = fs::read(file("listeners.pem")).unwrap();
            assert!(run(&CertsArgs { hosts: vec!["localhost".into(), host.into()], ..args(&[]) }).is_err(), "{host}");
            assert_eq!(fs::read(file("listeners.pem")).unwrap(), before, "{host}");
        }
        // It is no other cell's.
        let before = fs::read(file("a.pem")).unwrap();
        let refused = run(&CertsArgs { cell: "d".into(), ..args(&["a"]) }).unwrap_err();
        assert!(format!("{refused:#}").contains("has no authority of d"), "{refused:#}");
        assert_eq!(fs::read(file("a.pem")).unwrap(), before, "nothing was given out");
        for bad in ["ca", "listeners", "ca-key", "a-key", "A", "a.b", ""] {
            assert!(run(&args(&[bad])).is_err(), "{bad}");
        }
    }
}
