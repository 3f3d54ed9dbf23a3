//! A disk as the system calls of a process tell it, traced by `strace`: what is written is there only once a sync of its file has completed.
//!
//! Contents alone are modelled. Names are taken to be durable at once (made, renamed and removed files), since what these tests watch are writes
//! to files that were there and synced before.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files by name.
pub(super) type Image = BTreeMap<PathBuf, Arc<Vec<u8>>>;

/// What to trace. A call that some machines do not have has a question mark.
pub(super) const CALLS: &str = "openat,?open,?creat,write,pwrite64,writev,pwritev,?pwritev2,lseek,ftruncate,fallocate,\
    fsync,fdatasync,?sync_file_range,sync,syncfs,?rename,?renameat,renameat2,?unlink,unlinkat";

/// The disk below one directory.
pub(super) struct Disk {
    dir: PathBuf,
    /// What a power cut leaves.
    synced: Image,
    /// What the system holds.
    cached: Image,
    /// Where a descriptor stands; `None`: at the end, always.
    positions: HashMap<u64, Option<usize>>,
    /// Calls begun, by thread.
    begun: HashMap<u64, String>,
    /// What a sync under way will have made durable, by thread.
    syncing: HashMap<u64, (PathBuf, Arc<Vec<u8>>)>,
    /// Completed syncs, by file.
    pub(super) syncs: BTreeMap<PathBuf, u64>,
}

impl Disk {
    /// With these files below `dir`, all of them synced.
    pub(super) fn new(dir: &Path, files: Image) -> Self {
        Self {
            dir: dir.to_owned(),
            synced: files.clone(),
            cached: files,
            positions: HashMap::new(),
            begun: HashMap::new(),
            syncing: HashMap::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// What a power cut would leave now.
    pub(super) fn image(&self) -> Image {
        self.synced.clone()
    }

    /// Follows one line of the trace; the answer is what the process has just begun to write to its standard output.
    pub(super) fn follow(&mut self, line: &str) -> Option<String> {
        let (thread, rest) = line.split_once(' ')?;
        let (thread, rest): (u64, _) = (thread.parse().unwrap(), rest.trim_start());
        if rest.starts_with("+++") || rest.starts_with("---") {
            return None;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let begun = self.begun.remove(&thread).unwrap();
            let (_, end) = resumed.split_once(" resumed>").unwrap();
            self.completed(thread, &(begun + end));
            return None;
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            self.begun.insert(thread, begun.to_owned());
            return self.started(thread, begun);
        }
        let said = self.started(thread, rest);
        self.completed(thread, rest);
        said
    }

    fn started(&mut self, thread: u64, call: &str) -> Option<String> {
        let (name, arguments) = call.split_once('(')?;
        if name == "write" && arguments.starts_with("1<") {
            return Some(String::from_utf8_lossy(&quoted(arguments, 0)).into_owned());
        }
        if matches!(name, "fsync" | "fdatasync") {
            let (_, path) = self.descriptor(arguments)?;
            let held = self.cached.get(&path)?.clone();
            self.syncing.insert(thread, (path, held));
        }
        None
    }

    fn completed(&mut self, thread: u64, call: &str) {
        let Some((name, arguments)) = call.split_once('(') else { return };
        let (arguments, result) = arguments.rsplit_once(" = ").unwrap_or_else(|| panic!("{call}"));
        let arguments = arguments.trim_end().trim_end_matches(')');
        let failed = result.trim_start().starts_with(['-', '?']);
        if matches!(name, "fsync" | "fdatasync") {
            if let Some((path, held)) = self.syncing.remove(&thread).filter(|_| !failed) {
                *self.syncs.entry(path.clone()).or_default() += 1;
                self.synced.insert(path, held);
            }
            return;
        }
        if failed {
            return;
        }
        let number = || result.trim().split(['<', ' ']).next().and_then(|text| text.parse::<usize>().ok()).unwrap();
        match name {
            "openat" | "open" | "creat" => {
                let Some(path) = self.within(&text(&quoted(arguments, 0))) else { return };
                let flags = arguments.rsplit_once("\", ").map_or("", |(_, flags)| flags);
                if !flags.contains("O_WRONLY") && !flags.contains("O_RDWR") {
                    return;
                }
                if flags.contains("O_TRUNC") {
                    self.cached.insert(path.clone(), Arc::default());
                }
                self.cached.entry(path.clone()).or_default();
                self.synced.entry(path).or_default();
                self.positions.insert(number() as u64, (!flags.contains("O_APPEND")).then_some(0));
            }
            "lseek" => {
                if let Some((descriptor, _)) = self.descriptor(arguments)
                    && let Some(Some(position)) = self.positions.get_mut(&descriptor)
                {
                    *position = number();
                }
            }
            "write" => {
                let Some((descriptor, path)) = self.descriptor(arguments) else { return };
                let (data, written) = (quoted(arguments, 0), number());
                let file = Arc::make_mut(self.cached.get_mut(&path).unwrap());
                let position = self.positions.get_mut(&descriptor).unwrap_or_else(|| panic!("never opened: {call}"));
                let at = position.unwrap_or(file.len());
                put(file, at, &data[..written]);
                *position = position.map(|at| at + written);
            }
            "pwrite64" => {
                let Some((_, path)) = self.descriptor(arguments) else { return };
                let at = arguments.rsplit_once(", ").unwrap().1.parse().unwrap();
                put(Arc::make_mut(self.cached.get_mut(&path).unwrap()), at, &quoted(arguments, 0)[..number()]);
            }
            "ftruncate" => {
                let Some((_, path)) = self.descriptor(arguments) else { return };
                let length = arguments.rsplit_once(", ").unwrap().1.parse().unwrap();
                Arc::make_mut(self.cached.get_mut(&path).unwrap()).resize(length, 0);
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = (self.within(&text(&quoted(arguments, 0))), self.within(&text(&quoted(arguments, 1))));
                for files in [&mut self.synced, &mut self.cached] {
                    let moved = from.as_ref().and_then(|from| files.remove(from));
                    files.extend(to.clone().zip(moved));
                }
            }
            "unlink" | "unlinkat" => {
                if let Some(path) = self.within(&text(&quoted(arguments, 0))) {
                    self.synced.remove(&path);
                    self.cached.remove(&path);
                }
            }
            // Whatever else writes must be taught to this model before it can be believed.
            _ => assert!(self.descriptor(arguments).is_none(), "not modelled: {call}"),
        }
    }

    /// The descriptor that a call begins with, and its file, when that lies below the directory.
    fn descriptor(&self, arguments: &str) -> Option<(u64, PathBuf)> {
        let (number, rest) = arguments.split_once('<')?;
        let path = decode(rest.split_once('>')?.0);
        Some((number.parse().ok()?, self.within(&text(&path))?))
    }

    fn within(&self, path: &str) -> Option<PathBuf> {
        Path::new(path).strip_prefix(&self.dir).ok().map(Path::to_owned)
    }
}

fn put(file: &mut Vec<u8>, at: usize, data: &[u8]) {
    if file.len() < at + data.len() {
        file.resize(at + data.len(), 0);
    }
    file[at..at + data.len()].copy_from_slice(data);
}

/// The text in the quotation marks that come as number `nth`.
fn quoted(arguments: &str, nth: usize) -> Vec<u8> {
    decode(arguments.split('"').nth(2 * nth + 1).unwrap_or_else(|| panic!("no text in {arguments}")))
}

/// `strace -xx` writes every byte as `\x` and two digits.
fn decode(hexadecimal: &str) -> Vec<u8> {
    hexadecimal.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_was_not_synced_is_not_there() {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let (file, path) = (hex("/d/f"), PathBuf::from("f"));
    let mut disk = Disk::new(Path::new("/d"), [(path.clone(), Arc::new(b"ab".to_vec()))].into());
    let mut follow = |line: String| disk.follow(&line);
    follow(format!("1 openat(AT_FDCWD<{}>, \"{file}\", O_WRONLY|O_APPEND|O_CLOEXEC) = 3<{file}>", hex("/d")));
    follow(format!("1 write(3<{file}>, \"{}\", 2) = 2", hex("cd")));
    // A sync covers what was written before it began, once it has ended.
    follow(format!("2 fdatasync(3<{file}> <unfinished ...>"));
    follow(format!("1 pwrite64(3<{file}>, \"{}\", 1, 0) = 1", hex("X")));
    assert_eq!(follow(format!("1 write(1<{}>, \"{}\", 3) = 3", hex("pipe"), hex("hi\n"))).as_deref(), Some("hi\n"));
    assert_eq!(**disk.image().get(&path).unwrap(), b"ab");
    let mut follow = |line: String| disk.follow(&line);
    follow("2 <... fdatasync resumed>) = 0".to_owned());
    follow(format!("1 fdatasync(3<{file}>) = -1 EIO (Input/output error)"));
    assert_eq!(**disk.image().get(&path).unwrap(), b"abcd");
    assert_eq!(**disk.cached.get(&path).unwrap(), b"Xbcd");
    assert_eq!(disk.syncs, [(path, 1)].into());
}
