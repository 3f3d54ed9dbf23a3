//! Messages of the protocol to a participant of another cell, by way of whichever node.

use super::{CELLS, PATIENCE, Place, asked, home, moved};
use crate::{
    profiles::at,
    stage::{Answer, Stage, dsp},
    support::Platform,
};
use cellspace_client::{sharing, tenants::Participant};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// The participant as it is addressed by way of another node.
fn by_way_of(who: &Participant, port: u16) -> Participant {
    let mut url: url::Url = who.dsp.parse().unwrap();
    url.set_port(Some(port)).unwrap();
    Participant { dsp: url.to_string(), ..at(who, "") }
}

impl Stage {
    /// A request of the protocol with a fresh token each time, until it is answered with anything but "not now".
    async fn patiently(&self, from: &Participant, to: &Participant, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let until = Instant::now() + PATIENCE;
        loop {
            let token = self.token(from, to).await;
            let answer = self.send(Some(&token), method.clone(), to, path, body).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            assert!(Instant::now() < until, "{}", answer.text);
            sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// What everybody may see of a participant, by way of each node: the same.
    async fn is_found(&self, who: &Participant, ports: [u16; 2], profiles: &[&str]) {
        for port in ports {
            let base = by_way_of(who, port).dsp;
            let root = &base[..base.rfind('/').unwrap()];
            let answer = self.client.http.get(format!("{root}/.well-known/dspace-version")).send().await.unwrap();
            let (status, told) = crate::support::read(answer).await;
            assert_eq!(status, StatusCode::OK, "{} by way of {port}: {told}", who.context);
            let named: Vec<_> = told["protocolVersions"].as_array().unwrap().iter().map(|version| version["profile"].clone()).collect();
            assert_eq!(named, profiles, "{} by way of {port}: {told}", who.context);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_find_a_participant_by_way_of_any_cell() {
    let Some(place) = Place::of("two_cells_dsp").await else { return };
    let a = Box::pin(place.node(0, None)).await;
    let b = Box::pin(place.node(1, Some(&a))).await;
    let ports = [&a, &b].map(|node| node.public_address().unwrap().port());
    let [at_a, _] = [&a, &b].map(|node| node.admin_address().unwrap().port());
    let mut base = Platform::of(a, None).await;
    base.beside = vec![b];
    let mut s = Box::pin(Stage::on(base)).await;
    let all = [s.provider.context.clone(), s.consumer.context.clone()];
    let request = dsp("CatalogRequestMessage", json!({}));
    // The provider is in the other cell, then the consumer, who is alone there.
    for (n, homes) in [[CELLS[1], CELLS[0]], [CELLS[0], CELLS[1]]].into_iter().enumerate() {
        for (owner, to) in all.iter().zip(homes) {
            moved(&s.base, at_a, owner, to).await;
            assert_eq!(home(&s.base.node, owner).await, to);
        }
        let named: &[&str] = if n == 0 { &[sharing::PROFILE] } else { &[sharing::PROFILE, "acme-net"] };
        s.is_found(&s.provider, ports, named).await;
        s.is_found(&s.consumer, ports, &[sharing::PROFILE]).await;
        for port in ports {
            let (provider, consumer) = (by_way_of(&s.provider, port), by_way_of(&s.consumer, port));
            let catalog = s.patiently(&s.consumer, &provider, Method::POST, "/catalog/request", Some(&request)).await;
            assert_eq!(catalog.status, StatusCode::OK, "{}", catalog.text);
            assert!(!sharing::offers(&catalog.body).is_empty(), "{}", catalog.text);
            let nobodys = s.patiently(&s.consumer, &provider, Method::GET, "/negotiations/nobodys", None).await;
            assert_eq!(nobodys.status, StatusCode::NOT_FOUND, "{}", nobodys.text);
            let refused = s.send(None, Method::POST, &consumer, "/catalog/request", Some(&request)).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.text);
        }
        // A whole negotiation and a transfer, with commands, messages and data by way of the cell that has one of both.
        let offer = s.patiently(&s.consumer, &s.provider, Method::POST, "/catalog/request", Some(&request)).await;
        let offer = sharing::offers(&offer.body).remove(0);
        let (ours, theirs, agreement) = timeout(PATIENCE, s.agreement(&offer)).await.expect("they agree");
        for (who, id) in [(&s.consumer, &ours), (&s.provider, &theirs)] {
            for node in [&s.base.node, &s.base.beside[0]] {
                let path = who.path(&format!("contractnegotiations/{id}"));
                let (status, shown, _) = asked(&s.base, node.admin_address().unwrap().port(), Method::GET, &path, None).await;
                assert_eq!((status, &shown["state"]), (StatusCode::OK, &json!("FINALIZED")), "{shown}");
            }
        }
        let (consumer, provider) = (&s.consumer, &s.provider);
        let pull = timeout(PATIENCE, sharing::start_pull(&mut s.client, consumer, provider, &agreement))
            .await
            .expect("a transfer starts")
            .unwrap();
        assert_eq!(sharing::open(&s.client, &pull).await.unwrap().status(), StatusCode::OK);
        if n == 0 {
            // What is changed for the installation counts in all cells when that is answered.
            assert_eq!(s.defines("acme-net", None).await, StatusCode::OK);
            s.joins(&s.provider, &[sharing::PROFILE, "acme-net"]).await;
            s.is_found(&s.provider, ports, &[sharing::PROFILE, "acme-net"]).await;
        }
    }
    place.left_by(s.base).await;
}
