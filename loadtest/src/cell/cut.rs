//! Relays in front of the nodes' links, that can be cut for whom they come from: what is sent on a cut way is held, as a network without a way does, until it is
//! whole again.
//!
//! A relay knows who calls by the calling socket, which it looks for among those of the nodes' processes.

use anyhow::Result;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

/// Bytes that are held of a way that is cut, for each connection.
const HELD: usize = 64 << 10;

/// A way from one node to another.
type Way = (String, String);

/// All relays of a cell.
#[derive(Default)]
pub struct Network {
    cut: watch::Sender<BTreeSet<Way>>,
    processes: Mutex<BTreeMap<String, u32>>,
    relays: Mutex<Vec<JoinHandle<()>>>,
}

impl Network {
    /// Opens the relay in front of a node that listens at `to`: where others reach it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn in_front(self: &Arc<Self>, node: &str, to: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, node, this) = (listener.local_addr()?, node.to_owned(), self.clone());
        let relay = tokio::spawn(async move {
            while let Ok((calling, from)) = listener.accept().await {
                let (node, this) = (node.clone(), this.clone());
                // Whatever ends it, both sides see it in their connections.
                tokio::spawn(async move { this.pass((calling, from), to, node).await });
            }
        });
        self.relays.lock().push(relay);
        Ok(address)
    }

    /// The process of a node, by which its connections are known.
    pub fn is(&self, node: &str, process: u32) {
        self.processes.lock().insert(node.to_owned(), process);
    }

    /// Cuts these ways, one direction each, and mends all others.
    pub fn cut(&self, ways: BTreeSet<Way>) {
        self.cut.send_replace(ways);
    }

    /// The node whose socket this is.
    fn caller(&self, socket: SocketAddr) -> Option<String> {
        let processes = self.processes.lock().clone();
        let inode = inode(&std::fs::read_to_string("/proc/self/net/tcp").ok()?, socket)?;
        processes.into_iter().find(|(_, process)| has_socket(*process, inode)).map(|(node, _)| node)
    }

    async fn pass(self: Arc<Self>, (calling, from): (TcpStream, SocketAddr), to: SocketAddr, node: String) -> io::Result<()> {
        // First: of a node that is dead nobody has to know who calls, which takes a while to find out.
        let called = TcpStream::connect(to).await?;
        let this = self.clone();
        let caller = spawn_blocking(move || this.caller(from)).await?.unwrap_or_default();
        let (way, back) = ((caller.clone(), node.clone()), (node, caller));
        calling.set_nodelay(true)?;
        called.set_nodelay(true)?;
        let ((from_caller, to_caller), (from_called, to_called)) = (calling.into_split(), called.into_split());
        tokio::select! {
            there = self.carry(from_caller, to_called, &way) => there,
            back = self.carry(from_called, to_caller, &back) => back,
        }
    }

    async fn carry(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &Way) -> io::Result<()> {
        let mut held = vec![0; HELD];
        loop {
            let read = from.read(&mut held).await?;
            self.whole(way).await;
            let bytes = held.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(bytes).await?;
        }
    }

    /// Waits until the way is not cut.
    async fn whole(&self, way: &Way) {
        // It lasts as long as this.
        let _ = self.cut.subscribe().wait_for(|cut| !cut.contains(way)).await;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.relays.lock().iter().for_each(JoinHandle::abort);
    }
}

/// The number of an IPv4 socket in the kernel's table.
fn inode(table: &str, socket: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(socket) = socket else { return None };
    // The address as the machine keeps it, which is the network's order.
    let address = format!("{:08X}:{:04X}", u32::from_ne_bytes(socket.ip().octets()), socket.port());
    let mut rows = table.lines().map(|line| line.split_whitespace());
    rows.find_map(|mut row| if row.nth(1)? == address { row.nth(7)?.parse().ok() } else { None })
}

fn has_socket(process: u32, inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn echo(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    }

    #[tokio::test]
    async fn a_cut_way_holds_what_is_sent_and_gives_it_when_it_is_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(echo(listener));
        let network = Arc::<Network>::default();
        let relay = network.in_front("b", to).await.unwrap();
        network.is("a", std::process::id());
        let mut stream = TcpStream::connect(relay).await.unwrap();
        let mut heard = [0; 3];
        stream.write_all(b"one").await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"one");
        for cut in [("a", "b"), ("b", "a")] {
            network.cut(BTreeSet::from([(cut.0.to_owned(), cut.1.to_owned())]));
            stream.write_all(b"two").await.unwrap();
            let nothing = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut heard)).await;
            assert!(nothing.is_err(), "{cut:?} is cut, but {heard:?} came");
            network.cut(BTreeSet::new());
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"two");
        }
        // The way of others is not cut.
        network.cut(BTreeSet::from([("c".to_owned(), "b".to_owned())]));
        stream.write_all(b"six").await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"six");
    }
}
