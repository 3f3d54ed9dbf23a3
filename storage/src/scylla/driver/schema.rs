//! The keyspace and its tables, with a version. Made by `cellspace admin schema`; a node only looks whether they are what it knows.

use super::{Replication, ScyllaError, ScyllaOptions, connect};
use scylla::{DeserializeRow, client::session::Session, statement::Consistency, statement::unprepared::Statement};
use std::time::Duration;

/// The version that this build makes and reads.
pub const SCHEMA_VERSION: i32 = 5;

/// What brings the schema to each version, from the one before. Every statement bears being repeated.
const STEPS: [&[&str]; 5] = [
    &[
        "CREATE TABLE IF NOT EXISTS partitions (\
        owner text, kind text, name text, part tinyint, generation int, key blob, value blob, mark blob, \
        fence_view bigint static, fence_count bigint static, epoch_view bigint static, epoch_count bigint static, seq bigint static, \
        awake blob static, due bigint static, due_mark blob static, \
        present int static, copying int static, kept int static, deleted int static, \
        PRIMARY KEY ((owner, kind, name), part, generation, key))",
        "CREATE TABLE IF NOT EXISTS hours (class tinyint, bucket smallint, hour bigint, PRIMARY KEY ((class, bucket), hour))",
        "CREATE TABLE IF NOT EXISTS awake (bucket smallint, hour bigint, owner text, kind text, name text, mark blob, \
        PRIMARY KEY ((bucket, hour), owner, kind, name, mark))",
        "CREATE TABLE IF NOT EXISTS due (bucket smallint, hour bigint, due bigint, owner text, kind text, name text, mark blob, \
        PRIMARY KEY ((bucket, hour), due, owner, kind, name, mark))",
        "CREATE TABLE IF NOT EXISTS publications (bucket smallint, hour bigint, owner text, kind text, name text, mark blob, n int, \
        topic text, key text, payload blob, PRIMARY KEY ((bucket, hour), owner, kind, name, mark, n))",
        "CREATE TABLE IF NOT EXISTS settings (name text PRIMARY KEY, value text)",
        "CREATE TABLE IF NOT EXISTS views (id text PRIMARY KEY, version bigint, content text)",
        "CREATE TABLE IF NOT EXISTS leases (id text, node text, incarnation bigint, counter bigint, revoked boolean, level int, endpoint text, \
        PRIMARY KEY (id, node))",
        "CREATE TABLE IF NOT EXISTS boots (id text PRIMARY KEY, boot bigint)",
    ],
    &["CREATE TABLE IF NOT EXISTS vault (owner text, alias text, record blob, PRIMARY KEY (owner, alias))"],
    &["CREATE TABLE IF NOT EXISTS homes (owner text PRIMARY KEY, version bigint, content text)"],
    &["ALTER TABLE leases ADD told text"],
    // Rows there come and go with nearly every turn, and the traces of those that went are read over: of so many seconds and no more. A row that comes back, since
    // a replica did not hear that it went, is held against its partition's head, and found to be of no use. An event that came back would be told once more.
    &["ALTER TABLE awake WITH gc_grace_seconds = 600", "ALTER TABLE due WITH gc_grace_seconds = 600"],
];

/// How long a change of the schema may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the version is kept; made first.
const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (id text PRIMARY KEY, version int)";

#[derive(DeserializeRow)]
struct Version {
    version: i32,
}

#[derive(DeserializeRow)]
struct Name {
    #[allow(dead_code, reason = "that there is one is what is asked")]
    keyspace_name: String,
}

/// Makes keyspace and tables, or brings them to this build's version; the version found before, `None` when there was none. May be repeated.
///
/// # Errors
/// [`ScyllaError::NewerSchema`] when a newer build has made it; [`ScyllaError`] says what else is wrong.
pub async fn create_schema(options: &ScyllaOptions, replication: &Replication) -> Result<Option<i32>, ScyllaError> {
    options.check()?;
    let patient = ScyllaOptions { request_timeout: options.request_timeout.max(PATIENCE), ..options.clone() };
    let session = connect::session(&patient, None).await?;
    // Lightweight transactions need a keyspace without tablets, which Cassandra does not know.
    let tablets = if has_tablets(&session).await? { " AND tablets = {'enabled': false}" } else { "" };
    let keyspace = &options.keyspace;
    run(&session, &format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}{tablets}")).await?;
    session.use_keyspace(keyspace.as_str(), false).await.map_err(|e| ScyllaError::Unreachable(e.to_string()))?;
    run(&session, VERSION_TABLE).await?;
    let found = version(&session).await?;
    if let Some(found) = found.filter(|found| *found > SCHEMA_VERSION) {
        return Err(ScyllaError::NewerSchema { found, supported: SCHEMA_VERSION });
    }
    let done = usize::try_from(found.unwrap_or(0)).unwrap_or(0);
    for statement in STEPS.iter().skip(done).copied().flatten() {
        if !is_there(&session, statement, keyspace).await? {
            run(&session, statement).await?;
        }
    }
    if found != Some(SCHEMA_VERSION) {
        run(&session, &format!("INSERT INTO schema_version (id, version) VALUES ('cellspace', {SCHEMA_VERSION})")).await?;
    }
    Ok(found)
}

/// Refuses another version than this build's.
pub(super) async fn check(session: &Session) -> Result<(), ScyllaError> {
    match version(session).await? {
        Some(SCHEMA_VERSION) => Ok(()),
        Some(found) if found > SCHEMA_VERSION => Err(ScyllaError::NewerSchema { found, supported: SCHEMA_VERSION }),
        Some(_) | None => Err(ScyllaError::NoSchema),
    }
}

async fn has_tablets(session: &Session) -> Result<bool, ScyllaError> {
    let query = "SELECT keyspace_name FROM system_schema.tables WHERE keyspace_name = 'system_schema' AND table_name = 'scylla_keyspaces'";
    let answer = session.query_unpaged(query, ()).await.map_err(ScyllaError::refused)?;
    let rows = answer.into_rows_result().map_err(|e| ScyllaError::Unreachable(e.to_string()))?;
    Ok(rows.maybe_first_row::<Name>().map_err(|e| ScyllaError::Unreachable(e.to_string()))?.is_some())
}

/// Whether it is for a column that is there already: that cannot be left to the statement.
async fn is_there(session: &Session, statement: &str, keyspace: &str) -> Result<bool, ScyllaError> {
    let words: Vec<_> = statement.split(' ').collect();
    let ["ALTER", "TABLE", table, "ADD", column, ..] = words[..] else { return Ok(false) };
    let query = "SELECT keyspace_name FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ? AND column_name = ?";
    let answer = session.query_unpaged(query, (keyspace, table, column)).await.map_err(ScyllaError::refused)?;
    let rows = answer.into_rows_result().map_err(|e| ScyllaError::Unreachable(e.to_string()))?;
    Ok(rows.maybe_first_row::<Name>().map_err(|e| ScyllaError::Unreachable(e.to_string()))?.is_some())
}

async fn version(session: &Session) -> Result<Option<i32>, ScyllaError> {
    let mut query = Statement::new("SELECT version FROM schema_version WHERE id = 'cellspace'");
    query.set_consistency(Consistency::LocalQuorum);
    let answer = match session.query_unpaged(query, ()).await {
        Ok(answer) => answer,
        // Without the table there is no schema.
        Err(error) if ScyllaError::is_invalid(&error) => return Ok(None),
        Err(error) => return Err(ScyllaError::refused(error)),
    };
    let rows = answer.into_rows_result().map_err(|e| ScyllaError::Unreachable(e.to_string()))?;
    let row = rows.maybe_first_row::<Version>().map_err(|e| ScyllaError::Unreachable(e.to_string()))?;
    Ok(row.map(|row| row.version))
}

async fn run(session: &Session, statement: &str) -> Result<(), ScyllaError> {
    session.query_unpaged(statement, ()).await.map(drop).map_err(ScyllaError::refused)
}
