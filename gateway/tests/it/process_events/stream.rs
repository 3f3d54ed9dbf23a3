//! The stream of events of a participant.

use super::{NEGOTIATED, SOON};
use crate::{
    stage::{Stage, callback},
    support::DRAIN,
};
use cellspace_client::{sharing, tenants::Participant};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::time::Instant;

/// A stream of events as its client reads it.
struct Events {
    response: Response,
    read: String,
    last_id: String,
}

/// An event: its name and its data.
type Event = (String, Value);

impl Events {
    async fn request(s: &Stage, who: &Participant, query: &str, last: Option<&str>) -> Response {
        let mut request = s.client.http.get(s.node().urls.admin(&who.path(&format!("events{query}")))).bearer_auth(&who.caller.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.unwrap()
    }

    /// Follows the consumer; the stream has begun.
    async fn open(s: &Stage, last: Option<&str>) -> Self {
        let response = Self::request(s, &s.consumer, "", last).await;
        assert_eq!((response.status(), response.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "text/event-stream"));
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut events = Self { response, read: String::new(), last_id: String::new() };
        if last.is_none() {
            assert_eq!(events.block().await, Some(None));
        }
        events
    }

    /// The next block, as the HTML standard dispatches it: `None` at the end, `Some(None)` for one without data.
    async fn block(&mut self) -> Option<Option<Event>> {
        let end = loop {
            if let Some(end) = self.read.find("\n\n") {
                break end;
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await.expect("nothing happens").unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        };
        let block: String = self.read.drain(..end + 2).collect();
        let (mut name, mut data) = (String::new(), None);
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", event)) => name = event.to_owned(),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                Some(("retry", millis)) => assert!(millis.parse::<u32>().is_ok()),
                _ => assert!(line.starts_with(':'), "{line}"),
            }
        }
        Some(data.map(|data| (name, data)))
    }

    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.block().await.expect("the stream has ended") {
                return event;
            }
        }
    }

    /// Reads what happens to one negotiation, from this step on, and nothing else; the ids of its events.
    async fn negotiation(&mut self, id: &str, from: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for step in &NEGOTIATED[from..] {
            let (name, event) = self.next().await;
            assert_eq!(name, format!("contract.negotiation.{}", step.to_lowercase()));
            assert_eq!((&event["type"], &event["id"]), (&json!(format!("ContractNegotiation{step}")), &json!(self.last_id)));
            assert_eq!(event["payload"]["contractNegotiationId"], id, "{event}");
            ids.push(self.last_id.clone());
        }
        ids
    }
}

#[tokio::test]
async fn who_follows_misses_nothing() {
    let s = Stage::open().await;
    let mut events = Events::open(&s, None).await;
    let from_now = events.last_id.clone();
    let first = s.negotiate(json!([])).await;
    let ids = events.negotiation(&first, 0).await;
    // While nobody reads, and over a restart.
    drop(events);
    let offer = s.open_offer().await;
    let second = s.negotiate(json!([])).await;
    s.finalized(&second).await;
    let s = s.restarted().await;
    let mut events = Events::open(&s, Some(&ids[1])).await;
    assert_eq!(events.negotiation(&first, 2).await, ids[2..]);
    let further = events.negotiation(&second, 0).await;
    // What was told before the first event counts too; so does the id in the query.
    let mut again = Events::open(&s, Some(&from_now)).await;
    assert_eq!(again.negotiation(&first, 0).await, ids);
    let response = Events::request(&s, &s.consumer, &format!("?lastEventId={}", further[3]), None).await;
    let mut again = Events { response, read: String::new(), last_id: String::new() };
    assert_eq!(again.negotiation(&second, 4).await, further[4..]);
    // The other party has events of its own, in its own role.
    let mut theirs = Events { response: Events::request(&s, &s.provider, "", None).await, read: String::new(), last_id: String::new() };
    assert_eq!(theirs.block().await, Some(None));
    let third = s.negotiate_about(&offer, json!([])).await;
    events.negotiation(&third, 0).await;
    for step in ["requested", "agreed", "verified", "finalized"] {
        let (name, event) = theirs.next().await;
        assert_eq!((name, &event["payload"]["correlationId"]), (format!("contract.negotiation.{step}"), &json!(third)), "{event}");
        assert_eq!(event["payload"]["type"], "PROVIDER");
    }
    // Streams end with the node, and do not hold it up.
    let began = Instant::now();
    let (ended, ()) = tokio::join!(events.block(), s.close());
    assert_eq!(ended, None);
    assert!(began.elapsed() < DRAIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_not_known_any_more_is_said_first() {
    let s = Stage::open().await;
    for unknown in ["999999.0", "18446744073709551615.4294967295"] {
        let mut events = Events::open(&s, Some(unknown)).await;
        let (name, data) = events.next().await;
        assert_eq!(name, "reset");
        assert!(data["reason"].is_string() && events.last_id != unknown);
        let id = s.negotiate(json!([])).await;
        events.negotiation(&id, 0).await;
    }
    for bad in ["x", "1", "1.", "-1.0", "1.0.0"] {
        let refused = Events::request(&s, &s.consumer, "", Some(bad)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(Events::request(&s, &s.consumer, &format!("?lastEventId={bad}"), None).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    s.close().await;
}

#[tokio::test]
async fn streams_are_for_their_participant_and_end_with_its_rights() {
    let s = Stage::with(|config| config.limits.waits_each = 2).await;
    let other = s.client.http.get(s.node().urls.admin(&s.consumer.path("events"))).bearer_auth(&s.provider.caller.token);
    assert_eq!(other.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let nobody = s.client.http.get(s.node().urls.admin(&s.consumer.path("events")));
    assert_eq!(nobody.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // They count among the long polls of the participant for as long as they last.
    let mut first = Events::open(&s, None).await;
    let second = Events::open(&s, None).await;
    assert_eq!(Events::request(&s, &s.consumer, "", None).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(Events::request(&s, &s.provider, "", None).await.status(), StatusCode::OK);
    drop(second);
    let until = Instant::now() + SOON;
    let mut third = loop {
        let response = Events::request(&s, &s.consumer, "", None).await;
        if response.status() == StatusCode::OK {
            break Events { response, read: String::new(), last_id: String::new() };
        }
        assert!(Instant::now() < until, "the place was not given back");
        tokio::task::yield_now().await;
    };
    let id = s.negotiate(json!([])).await;
    first.negotiation(&id, 0).await;
    // That of one that is switched off ends though nothing happens to it any more.
    let response = Events::request(&s, &s.third, "", None).await;
    let mut off = Events { response, read: String::new(), last_id: String::new() };
    assert_eq!(off.block().await, Some(None));
    let path = format!("/api/mgmt/v5beta/participants/{}", s.third.context);
    let mut body = s.client.exchange(Some(s.admin()), Method::GET, &path, None).await.unwrap().body;
    body["state"] = json!("DEACTIVATED");
    assert_eq!(s.client.exchange(Some(s.admin()), Method::PUT, &path, Some(&body)).await.unwrap().status, 204);
    assert_eq!(tokio::time::timeout(SOON, off.block()).await, Ok(None));
    // A counterparty that takes the request and says no more.
    let (url, mut messages) = callback().await;
    let offers = s.offers(&s.consumer).await;
    let mut body = sharing::contract_request(&s.provider, &offers[0]);
    body["counterPartyAddress"] = json!(url);
    let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(body)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    messages.recv().await.unwrap();
    for step in ["initiated", "requested"] {
        assert_eq!(first.next().await.0, format!("contract.negotiation.{step}"));
    }
    // The end of the negotiation is not told any more: whose it is has left.
    let path = format!("/api/mgmt/v5beta/participants/{}", s.consumer.context);
    let deleted = s.client.exchange(Some(s.admin()), Method::DELETE, &path, None).await.unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.body);
    for events in [&mut first, &mut third] {
        while let Some(block) = events.block().await {
            assert!(block.is_none_or(|(name, _)| name != "contract.negotiation.terminated"));
        }
    }
    s.close().await;
}
