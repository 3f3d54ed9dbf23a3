//! What nodes are called in certificates.
//!
//! A certificate names one node of one cell by a DNS name below `cellspace.internal` (`internal` is kept for private use), so that the ordinary check of
//! a server's name is the check of the peer. Nothing resolves these names: where a peer is reached its lease row says.

use cellspace_storage::NodeName;
use std::fmt;

/// What follows node and cell.
const SUFFIX: &str = ".cellspace.internal";
/// Longest label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// A name that cannot stand in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a node or cell: at most 63 of a-z, 0-9 and -, the first and the last no -")]
pub struct NameError(String);

/// A node of a cell, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerName {
    node: NodeName,
    cell: String,
}

impl PeerName {
    /// This node of this cell.
    ///
    /// # Errors
    /// [`NameError`] when one of them is no DNS label.
    pub fn new(cell: &str, node: &NodeName) -> Result<Self, NameError> {
        for name in [cell, &node.0] {
            if !is_label(name) {
                return Err(NameError(name.to_owned()));
            }
        }
        Ok(Self { node: node.clone(), cell: cell.to_owned() })
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// The cell.
    #[must_use]
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// Another node of the same cell.
    ///
    /// # Errors
    /// [`NameError`]
    pub fn beside(&self, node: &NodeName) -> Result<Self, NameError> {
        Self::new(&self.cell, node)
    }

    /// The name as it stands in certificates.
    #[must_use]
    pub fn dns(&self) -> String {
        format!("{}.{}{SUFFIX}", self.node, self.cell)
    }

    /// Whether this DNS name lies where names of nodes are, so that nobody else may have it.
    #[must_use]
    pub fn is_kept(dns: &str) -> bool {
        let dns = dns.trim_end_matches('.').to_ascii_lowercase();
        dns.ends_with(SUFFIX) || dns == SUFFIX.trim_start_matches('.')
    }

    /// Reads such a name; `None` for any other.
    #[must_use]
    pub fn of_dns(dns: &str) -> Option<Self> {
        let (node, cell) = dns.strip_suffix(SUFFIX)?.split_once('.')?;
        Self::new(cell, &NodeName(node.to_owned())).ok()
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cell {}", self.node, self.cell)
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_are_read_again() {
        let name = |cell: &str, node: &str| PeerName::new(cell, &NodeName(node.to_owned()));
        let good = name("cell-1", "n0").unwrap();
        assert_eq!(good.dns(), "n0.cell-1.cellspace.internal");
        assert_eq!(PeerName::of_dns(&good.dns()), Some(good.clone()));
        assert_eq!(good.beside(&NodeName("b".into())).unwrap().dns(), "b.cell-1.cellspace.internal");
        let long = "x".repeat(64);
        for (cell, node) in [("", "n"), ("c", "-n"), ("c.d", "n"), ("C", "n"), ("c", "*"), ("c", "n\n"), ("c", long.as_str())] {
            assert!(name(cell, node).is_err(), "{cell} {node}");
        }
        for other in ["n0.cellspace.internal", "*.c.cellspace.internal", "a.n.c.cellspace.internal", "n.c.example.com", ""] {
            assert_eq!(PeerName::of_dns(other), None, "{other}");
        }
        for kept in ["n0.c.cellspace.internal", "*.c.Cellspace.Internal.", "a.n.c.cellspace.internal", "cellspace.internal"] {
            assert!(PeerName::is_kept(kept), "{kept}");
        }
        assert!(!["localhost", "127.0.0.1", "mycellspace.internal", "cellspace.internal.example.com"].into_iter().any(PeerName::is_kept));
    }
}
