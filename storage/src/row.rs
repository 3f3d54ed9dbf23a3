//! Rows of a partition: opaque values under ordered keys.

use bytes::Bytes;

/// Key of a row within its partition: a table and an id. Rows sort by table, then by the id's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RowKey(Bytes);

impl RowKey {
    /// `table` is a short ASCII word without a NUL byte, `id` any text.
    #[must_use]
    pub fn new(table: &str, id: &str) -> Self {
        let mut key = Vec::with_capacity(table.len() + 1 + id.len());
        key.extend_from_slice(table.as_bytes());
        key.push(0);
        key.extend_from_slice(id.as_bytes());
        Self(key.into())
    }

    /// From the stored form.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The stored form: table, NUL, id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        self.0.get(..end).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default()
    }

    /// The id within the table.
    #[must_use]
    pub fn id(&self) -> &str {
        let start = self.0.iter().position(|b| *b == 0).map_or(self.0.len(), |p| p + 1);
        self.0.get(start..).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default()
    }
}

/// A stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is.
    pub key: RowKey,
    /// The encoded value, opaque to this crate.
    pub value: Bytes,
}

/// One page of a scan, in key order.
#[derive(Debug, Clone, Default)]
pub struct RowPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether rows follow after the last one.
    pub more: bool,
}
