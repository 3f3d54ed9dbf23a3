//! `cellspace admin certs`: certificates for the nodes of a cell, for development.

use super::args::CertsArgs;
use anyhow::{Context, Result, bail};
use cellspace_cluster::{
    Clock, NodeName, SystemClock,
    link::{Authority, PeerName},
};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Certificate and key of the authority, in the directory.
const AUTHORITY: (&str, &str) = ("ca.pem", "ca-key.pem");

/// Makes the authority, unless it is there, and a certificate for each node in the place of the one that it had.
pub fn run(args: &CertsArgs) -> Result<()> {
    let names = args.nodes.iter().map(|node| PeerName::new(&args.cell, &NodeName(node.clone()))).collect::<Result<Vec<_>, _>>()?;
    if names.iter().any(|name| name.node().0 == "ca" || name.node().0.ends_with("-key")) {
        bail!("a node that is called ca, or whose name ends in -key, would take the place of another file");
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
    for name in names {
        let issued = authority.issue(&name, now)?;
        write(&out.join(format!("{}-key.pem", name.node())), &issued.key, 0o600)?;
        write(&out.join(format!("{}.pem", name.node())), &issued.certificate, 0o644)?;
    }
    println!("{}: certificates of {} for {}", out.display(), args.cell, args.nodes.join(", "));
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
    use cellspace_cluster::link::{CertificateFiles, Identity};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_keeps_its_authority_and_nobody_else_reads_keys() {
        let dir = tempfile::tempdir().unwrap();
        let args = |nodes: &[&str]| CertsArgs {
            cell: "c".into(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
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
        // It is no other cell's.
        let before = fs::read(file("a.pem")).unwrap();
        let refused = run(&CertsArgs { cell: "d".into(), ..args(&["a"]) }).unwrap_err();
        assert!(format!("{refused:#}").contains("has no authority of d"), "{refused:#}");
        assert_eq!(fs::read(file("a.pem")).unwrap(), before, "nothing was given out");
        for bad in ["ca", "ca-key", "a-key", "A", "a.b", ""] {
            assert!(run(&args(&[bad])).is_err(), "{bad}");
        }
    }
}
