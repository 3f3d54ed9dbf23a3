//! What is asked once, and who waits for whom.

use super::*;
use cellspace_schemas::Did;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

fn question(issuer: &str, holder: usize) -> Question {
    about(issuer, &holder.to_string(), false, Timestamp(0))
}

fn about(issuer: &str, holder: &str, anonymous: bool, updated_at: Timestamp) -> Question {
    let url = "https://office.example/".parse().unwrap();
    let stranger = Holder::anonymous(&Did::new("did:web:stranger").unwrap(), updated_at).unwrap();
    let holder = Holder { id: holder.parse().unwrap(), anonymous, ..stranger };
    Question::new(&issuer.parse().unwrap(), &"office".parse().unwrap(), &holder, &url)
}

#[tokio::test]
async fn the_same_is_asked_once_at_a_time_and_anew_afterwards() {
    let (outs, asked, open) = (CallOuts::default(), AtomicUsize::new(0), Notify::new());
    let ask = |question: Question| {
        let (outs, asked, open) = (&outs, &asked, &open);
        async move {
            let asking = || async {
                asked.fetch_add(1, Ordering::SeqCst);
                open.notified().await;
                if question.holder.as_str() == "2" { Err("down".to_owned()) } else { Ok(Some(Claims::new())) }
            };
            outs.answer(&question, Timestamp(5), asking).await
        }
    };
    for (holder, good) in [(1, true), (2, false)] {
        asked.store(0, Ordering::SeqCst);
        let together = futures::future::join_all((0..10).map(|_| ask(question("issuer", holder))));
        let opened = async {
            while asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            open.notify_one();
        };
        let (answers, ()) = futures::future::join(together, opened).await;
        assert!(answers.iter().all(|answer| answer.is_ok() == good));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{holder}");
        open.notify_one();
        assert_eq!(ask(question("issuer", holder)).await.is_ok(), good);
        assert_eq!(asked.load(Ordering::SeqCst), 2, "nothing is kept");
    }
    assert!(outs.under_way.lock().is_empty());
}

#[tokio::test]
async fn an_issuer_asks_a_bounded_number_of_questions_at_once() {
    let (outs, open) = (CallOuts::default(), Notify::new());
    let ask = |question: Question| {
        let (outs, open) = (&outs, &open);
        async move {
            let asking = || async {
                open.notified().await;
                Ok(None)
            };
            outs.answer(&question, Timestamp(5), asking).await
        }
    };
    let many = futures::future::join_all((0..MAX_AT_ONCE).map(|holder| ask(question("issuer", holder))));
    let meanwhile = async {
        while outs.under_way.lock().values().map(|count| count.all).sum::<usize>() < MAX_AT_ONCE {
            tokio::task::yield_now().await;
        }
        assert!(ask(question("issuer", MAX_AT_ONCE)).await.is_err());
        assert!(outs.answer(&question("other", 0), Timestamp(5), || async { Ok(None) }).await.is_ok());
        open.notify_waiters();
    };
    let (answers, ()) = futures::future::join(many, meanwhile).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(outs.under_way.lock().is_empty());
}

/// Whenever a stranger comes, and whatever of it is not kept yet, the question is the same; a registered one may have changed.
#[test]
fn what_is_asked_about_a_stranger_does_not_change() {
    let at = |anonymous, now| about("issuer", "h", anonymous, Timestamp(now));
    assert!(at(true, 1) == at(true, 2) && at(false, 1) != at(false, 2) && at(true, 1) != at(false, 1));
}

#[tokio::test]
async fn few_strangers_wait_for_one_answer() {
    let (outs, open, now) = (CallOuts::default(), Notify::new(), Timestamp(5));
    let one = about("issuer", "stranger", true, now);
    let ask = || async {
        let asking = || async {
            open.notified().await;
            Ok(None)
        };
        outs.answer(&one, now, asking).await
    };
    let many = futures::future::join_all((0..MAX_WAITING_STRANGERS).map(|_| ask()));
    let meanwhile = async {
        while outs.under_way.lock().values().map(|count| count.waiting_strangers).sum::<usize>() < MAX_WAITING_STRANGERS {
            tokio::task::yield_now().await;
        }
        assert!(ask().await.is_err());
        assert!(outs.answer(&question("issuer", 0), now, || async { Ok(None) }).await.is_ok(), "one that is registered");
        open.notify_one();
    };
    let (answers, ()) = futures::future::join(many, meanwhile).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(outs.under_way.lock().is_empty());
}

#[tokio::test]
async fn strangers_leave_places_to_those_who_are_registered() {
    let (outs, now) = (CallOuts::default(), Timestamp(5));
    let strangers: Vec<_> = (0..MAX_AT_ONCE).map(|n| about("issuer", &format!("stranger-{n}"), true, now)).collect();
    let held: Vec<_> = strangers.iter().filter_map(|stranger| outs.room(stranger)).collect();
    assert_eq!(held.len(), 16);
    let known: Vec<_> = (0..MAX_AT_ONCE).map(|n| question("issuer", n)).collect();
    let registered = known.iter().filter_map(|holder| outs.room(holder)).count();
    assert_eq!(registered, known.len(), "each gives its place back at once");
    let all: Vec<_> = known.iter().filter_map(|holder| outs.room(holder)).collect();
    assert_eq!(all.len(), MAX_AT_ONCE - held.len());
    drop(held);
    assert!(outs.room(&strangers[0]).is_some(), "their places are free again");
    drop(all);
    assert!(outs.under_way.lock().is_empty());
}
