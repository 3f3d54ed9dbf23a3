//! What is asked of the database, prepared once. Conditional writes are never repeated by the driver.

use super::ScyllaError;
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session},
    policies::retry::FallthroughRetryPolicy,
    statement::{Consistency, prepared::PreparedStatement},
};
use std::sync::Arc;

/// Rows fetched at once.
pub(super) const PAGE: i32 = 256;
/// The same of rows without what they hold.
const WIDE_PAGE: i32 = 4_096;

macro_rules! statements {
    ($($(#[$attribute:meta])* $kind:ident $name:ident: $text:expr;)*) => {
        pub(super) struct Statements { $($(#[$attribute])* pub(super) $name: PreparedStatement,)* pub(super) once: ExecutionProfile }

        impl Statements {
            pub(super) async fn prepare(session: &Session) -> Result<Self, ScyllaError> {
                let once = once(session);
                Ok(Self { $($name: $kind(session, &once, $text).await?,)* once })
            }
        }
    };
}

// Part 0 of a partition holds its rows, part 1 its audit rows, part 2 the rows of tables that are apart, part 3 how far a copy is that is made there.
statements! {
    read head: "SELECT DISTINCT owner, kind, name, fence_view, fence_count, epoch_view, epoch_count, seq, awake, due, due_mark, present, copying, kept, deleted \
        FROM partitions WHERE owner = ? AND kind = ? AND name = ?";
    write claim: "UPDATE partitions SET fence_view = ?, fence_count = ? WHERE owner = ? AND kind = ? AND name = ? \
        IF fence_view = ? AND fence_count = ? AND seq = ? AND present = ? AND copying = ?";
    write commit: "UPDATE partitions SET epoch_view = ?, epoch_count = ?, seq = ?, awake = ?, due = ?, due_mark = ?, deleted = ? \
        WHERE owner = ? AND kind = ? AND name = ? IF fence_view = ? AND fence_count = ? AND seq = ?";
    write put: "INSERT INTO partitions (owner, kind, name, part, generation, key, value) VALUES (?, ?, ?, ?, ?, ?, ?)";
    write delete: "DELETE FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key = ?";
    write audit: "INSERT INTO partitions (owner, kind, name, part, generation, key, value, mark) VALUES (?, ?, ?, 1, 0, ?, ?, ?)";
    /// Says that a copy is being made.
    write copy: "UPDATE partitions SET copying = ? WHERE owner = ? AND kind = ? AND name = ? IF fence_view = ? AND fence_count = ? AND seq = ?";
    /// Ends it.
    write copied: "UPDATE partitions SET present = ?, kept = ?, deleted = 0 WHERE owner = ? AND kind = ? AND name = ? \
        IF fence_view = ? AND fence_count = ? AND seq = ?";
    repeat forget: "DELETE FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 0 AND generation >= ? AND generation < ?";
    read scan: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key >= ? AND key < ? LIMIT ?";
    read scan_after: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key > ? AND key < ? LIMIT ?";
    read scan_before: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key >= ? AND key < ? \
        ORDER BY part DESC, generation DESC, key DESC LIMIT ?";
    read scan_all: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 0 AND generation = ?";
    read part: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ?";
    read partitions: "SELECT DISTINCT owner, kind, name FROM partitions";
    read get: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key = ?";
    read newest: "SELECT key, value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 1 ORDER BY part DESC, generation DESC, key DESC LIMIT ?";
    read witness: "SELECT value, mark FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 1 AND generation = 0 AND key = ?";
    /// The same, and nothing is on its way any more.
    serial witness_now: "SELECT value, mark FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 1 AND generation = 0 AND key = ?";

    /// A whole head, of a partition that comes from another cell or has gone to one.
    write adopt: "UPDATE partitions SET fence_view = ?, fence_count = ?, epoch_view = ?, epoch_count = ?, seq = ?, awake = ?, due = ?, due_mark = ?, \
        present = ?, copying = ?, kept = ?, deleted = ? WHERE owner = ? AND kind = ? AND name = ? IF fence_view = ? AND fence_count = ? AND seq = ?";
    write put_marked: "INSERT INTO partitions (owner, kind, name, part, generation, key, value, mark) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    repeat remove: "DELETE FROM partitions USING TIMESTAMP ? WHERE owner = ? AND kind = ? AND name = ?";
    repeat leave_behind: "DELETE FROM partitions USING TIMESTAMP ? WHERE owner = ? AND kind = ? AND name = ? AND part = 0 AND generation < ?";
    read whole_after: "SELECT part, generation, key, value, mark, WRITETIME(value) AS written FROM partitions \
        WHERE owner = ? AND kind = ? AND name = ? AND (part, generation, key) > (?, ?, ?)";
    wide placed_after: "SELECT part, generation, key, WRITETIME(value) AS written FROM partitions \
        WHERE owner = ? AND kind = ? AND name = ? AND (part, generation, key) > (?, ?, ?)";
    read held_at: "SELECT value, mark FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = ? AND key = ?";
    /// The audit row of the last commit, and nothing is on its way any more. The head of a copy, or of what was restored, comes after all rows.
    serial last_commit_now: "SELECT key, WRITETIME(value) AS written, WRITETIME(seq) AS headed FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = 1 \
        ORDER BY part DESC, generation DESC, key DESC LIMIT 1";
    read beside: "SELECT value FROM partitions WHERE owner = ? AND kind = ? AND name = ? AND part = ? AND generation = 0 AND key = ?";
    read fenced: "SELECT fence_view, fence_count, WRITETIME(fence_count) AS written FROM partitions WHERE owner = ? AND kind = ? AND name = ? LIMIT 1";
    read held: "SELECT part FROM partitions WHERE owner = ? AND kind = ? AND name = ? LIMIT 1";
    read unpublished: "SELECT mark FROM publications WHERE bucket = ? AND hour = ? AND owner = ? AND kind = ? AND name = ? LIMIT 1";

    serial home: "SELECT owner, content FROM homes WHERE owner = ?";
    read homes: "SELECT owner, content FROM homes";
    write first_home: "INSERT INTO homes (owner, version, content) VALUES (?, ?, ?) IF NOT EXISTS";
    write next_home: "UPDATE homes SET version = ?, content = ? WHERE owner = ? IF version = ?";

    read hours: "SELECT hour FROM hours WHERE class = ? AND bucket = ? AND hour <= ?";
    read hours_of: "SELECT bucket, hour FROM hours WHERE class = ? AND bucket IN ? AND hour <= ?";
    repeat add_hour: "INSERT INTO hours (class, bucket, hour) VALUES (?, ?, ?)";
    repeat remove_hour: "DELETE FROM hours WHERE class = ? AND bucket = ? AND hour = ?";

    read awake: "SELECT owner, kind, name, mark FROM awake WHERE bucket = ? AND hour = ?";
    read awake_after: "SELECT owner, kind, name, mark FROM awake WHERE bucket = ? AND hour = ? AND (owner, kind, name, mark) > (?, ?, ?, ?)";
    repeat add_awake: "INSERT INTO awake (bucket, hour, owner, kind, name, mark) VALUES (?, ?, ?, ?, ?, ?)";
    repeat remove_awake: "DELETE FROM awake WHERE bucket = ? AND hour = ? AND owner = ? AND kind = ? AND name = ? AND mark = ?";

    read due: "SELECT due, owner, kind, name, mark FROM due WHERE bucket = ? AND hour = ? AND due <= ?";
    read due_after: "SELECT due, owner, kind, name, mark FROM due WHERE bucket = ? AND hour = ? AND (due, owner, kind, name, mark) > (?, ?, ?, ?, ?)";
    repeat add_due: "INSERT INTO due (bucket, hour, due, owner, kind, name, mark) VALUES (?, ?, ?, ?, ?, ?, ?)";
    repeat remove_due: "DELETE FROM due WHERE bucket = ? AND hour = ? AND due = ? AND owner = ? AND kind = ? AND name = ? AND mark = ?";

    read publications: "SELECT owner, kind, name, mark, n, topic, key, payload FROM publications WHERE bucket = ? AND hour = ?";
    read publications_of: "SELECT owner, kind, name, mark, n, topic, key, payload FROM publications \
        WHERE bucket = ? AND hour = ? AND owner = ? AND kind = ? AND name = ?";
    read publication_topics: "SELECT topic FROM publications WHERE bucket = ? AND hour = ?";
    repeat add_publication: "INSERT INTO publications (bucket, hour, owner, kind, name, mark, n, topic, key, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    repeat remove_publications: "DELETE FROM publications WHERE bucket = ? AND hour = ? AND owner = ? AND kind = ? AND name = ? AND mark = ?";

    serial view: "SELECT content FROM views WHERE id = 'cell'";
    write first_view: "INSERT INTO views (id, version, content) VALUES ('cell', ?, ?) IF NOT EXISTS";
    write next_view: "UPDATE views SET version = ?, content = ? WHERE id = 'cell' IF version = ?";
    serial leases: "SELECT node, incarnation, counter, revoked, level, endpoint, told FROM leases WHERE id = 'cell'";
    write first_lease: "INSERT INTO leases (id, node, incarnation, counter, revoked, level, endpoint, told) VALUES ('cell', ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    write next_lease: "UPDATE leases SET incarnation = ?, counter = ?, revoked = ?, level = ?, endpoint = ?, told = ? WHERE id = 'cell' AND node = ? \
        IF incarnation = ? AND counter = ? AND revoked = ?";

    read record: "SELECT record FROM vault WHERE owner = ? AND alias = ?";
    read records: "SELECT owner, alias, record FROM vault";
    read aliases: "SELECT alias FROM vault WHERE owner = ? AND alias >= ?";
    write first_record: "INSERT INTO vault (owner, alias, record) VALUES (?, ?, ?) IF NOT EXISTS";
    repeat put_record: "INSERT INTO vault (owner, alias, record) VALUES (?, ?, ?)";
    write next_record: "UPDATE vault SET record = ? WHERE owner = ? AND alias = ? IF record = ?";
    write remove_record: "DELETE FROM vault WHERE owner = ? AND alias = ? IF EXISTS";

    read setting: "SELECT value FROM settings WHERE name = ?";
    read settings: "SELECT name, value FROM settings";
    write first_setting: "INSERT INTO settings (name, value) VALUES (?, ?) IF NOT EXISTS";
    write remove_setting: "DELETE FROM settings WHERE name = ? IF EXISTS";
    write next_setting: "UPDATE settings SET value = ? WHERE name = ? IF value = ?";
    repeat put_setting: "INSERT INTO settings (name, value) VALUES (?, ?)";
    read boot: "SELECT boot FROM boots WHERE id = 'cell'";
    write first_boot: "INSERT INTO boots (id, boot) VALUES ('cell', ?) IF NOT EXISTS";
    write next_boot: "UPDATE boots SET boot = ? WHERE id = 'cell' IF boot = ?";
}

/// For conditional writes: as all others, and sent once.
fn once(session: &Session) -> ExecutionProfile {
    session
        .get_default_execution_profile_handle()
        .pointee_to_builder()
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .build()
}

async fn read(session: &Session, _: &ExecutionProfile, text: &str) -> Result<PreparedStatement, ScyllaError> {
    let mut statement = session.prepare(text).await.map_err(ScyllaError::prepare)?;
    statement.set_is_idempotent(true);
    statement.set_page_size(PAGE);
    Ok(statement)
}

async fn wide(session: &Session, once: &ExecutionProfile, text: &str) -> Result<PreparedStatement, ScyllaError> {
    let mut statement = read(session, once, text).await?;
    statement.set_page_size(WIDE_PAGE);
    Ok(statement)
}

/// A plain write of which a second one changes nothing.
async fn repeat(session: &Session, once: &ExecutionProfile, text: &str) -> Result<PreparedStatement, ScyllaError> {
    read(session, once, text).await
}

async fn serial(session: &Session, once: &ExecutionProfile, text: &str) -> Result<PreparedStatement, ScyllaError> {
    let mut statement = read(session, once, text).await?;
    statement.set_consistency(Consistency::LocalSerial);
    Ok(statement)
}

async fn write(session: &Session, once: &ExecutionProfile, text: &str) -> Result<PreparedStatement, ScyllaError> {
    let mut statement = session.prepare(text).await.map_err(ScyllaError::prepare)?;
    statement.set_execution_profile_handle(Some(once.clone().into_handle()));
    Ok(statement)
}
