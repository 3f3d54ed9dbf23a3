//! What an activation reads of a partition whose rows come and go.

use super::Keyspace;
use crate::{
    APART, PartitionKey, Partitions, Seq,
    scylla::driver::{ScyllaStore, partitions::key},
    testkit::{
        Turn,
        turn::{partition, rows},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Live rows and traces of deleted ones that a scan of all rows reads over, as the database tells: it writes down what it did after it has answered, event by event.
async fn read(store: &ScyllaStore, partition: &PartitionKey) -> (u64, u64) {
    let inner = store.inner();
    let generation = inner.head(partition).await.unwrap().at.rows.number;
    let mut statement = inner.statements.scan_all.clone();
    statement.set_tracing(true);
    let ((owner, kind, name), session) = (key(partition), &inner.session);
    let answer = session.execute_unpaged(&statement, (owner, kind, name, generation)).await.unwrap();
    let tracing = answer.tracing_id().unwrap();
    let told = |event: &scylla::observability::tracing::TracingEvent| {
        let activity = event.activity.clone()?;
        let mut words = activity.strip_prefix("Read ")?.split(' ');
        let live = words.next()?.parse().ok()?;
        let deleted = words.nth(3)?.parse().ok()?;
        Some((live, deleted))
    };
    for _ in 0..1_000 {
        let trace = session.get_tracing_info(&tracing).await.unwrap();
        if let Some(told) = trace.events.iter().find_map(told) {
            return told;
        }
    }
    panic!("the database does not tell what it read");
}

#[tokio::test]
async fn an_activation_reads_as_much_after_many_turns_as_after_few() {
    let Some(mut keyspace) = Keyspace::new("an_activation_reads_as_much").await else { return };
    keyspace.0.deleted_rows = 50;
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    let apart = format!("{APART}ended");
    Turn::after(&key, claim).put("t", "kept", "1").put("u", "kept", "2").put(&apart, "1", "3").put(&apart, "2", "4").applied(&store).await;
    for seq in 2..=400 {
        let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), "x");
        let turn = if seq > 2 { turn.delete("t", &(seq - 1).to_string()) } else { turn.delete(&apart, "2") };
        turn.applied(&store).await;
    }
    let (live, deleted) = read(&store, &key).await;
    assert!(live == 3 && deleted <= 55, "{live} rows and {deleted} deleted ones are read");
    // All is there, for this activation and for the next one.
    let kept = ["t kept 1", "t 400 x", "u kept 2"];
    for _ in 0..2 {
        let mut found: Vec<String> = rows(&store, &key, None).await.into_iter().map(|(t, id, value)| format!("{t} {id} {value}")).collect();
        found.sort_by_key(|row| kept.iter().position(|kept| kept == row));
        assert_eq!(found, kept);
        assert_eq!(store.claim(&key, 1).await.unwrap().head.unwrap().seq, Seq(400));
        assert_eq!(store.audit(&key, 1_000).await.unwrap().len(), 400);
    }
    // What is apart was not copied, and is there.
    assert_eq!(store.inner().head(&key).await.unwrap().at.rows.kept, 3);
    let found = rows(&store, &key, Some(&apart)).await;
    assert_eq!(found, [(apart.clone(), "1".to_owned(), "3".to_owned())]);
    keyspace.remove().await;
}

/// Rows are moved between the pages of a reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_find_all_rows_while_they_are_moved() {
    let Some(mut keyspace) = Keyspace::new("readers_find_all_rows").await else { return };
    keyspace.0.deleted_rows = 3;
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    let turn = (0..700).fold(Turn::after(&key, claim), |turn, n| turn.put("kept", &format!("{n:04}"), &"x".repeat(2_000)));
    turn.applied(&store).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, key, done) = (store.clone(), key.clone(), done.clone());
        async move {
            while !done.load(Ordering::Acquire) {
                match store.scan(&key, Some("kept"), None, 1_000).await {
                    Ok(page) => assert_eq!(page.rows.len(), 700),
                    Err(error) => assert!(error.to_string().contains("being moved"), "{error}"),
                }
            }
        }
    });
    // The first move comes after three, later ones after twice as many as are kept.
    for seq in 2..=12 {
        let turn = (0..200).fold(Turn::after(&key, claim).numbered(seq), |turn, n| turn.delete("gone", &n.to_string()));
        turn.applied(&store).await;
    }
    done.store(true, Ordering::Release);
    reader.await.unwrap();
    assert!(store.inner().head(&key).await.unwrap().at.rows.number >= 2);
    // Who has claimed nothing looks into the head.
    assert_eq!(rows(&keyspace.open().await, &key, Some("kept")).await.len(), 700);
    keyspace.remove().await;
}
