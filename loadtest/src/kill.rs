//! Kill -9 loses and doubles nothing: rounds of work during which the platform is killed, and a check of both sides at the end.
//!
//! The client repeats unanswered calls with the same `Idempotency-Key`. In each round the process ends at a named crash point or at a random
//! moment, and is started again on the same data.

use crate::platform::{Launch, Platform};
use anyhow::{Context, Result, bail};
use cellspace_client::{
    Caller, Client, Patience, Silent, check, operator,
    operator::{CREDENTIALS, ISSUER},
    provider, sharing,
    sharing::Offer,
    tenants::{self, Participant},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// Places where the process ends; the empty one stands for a random moment.
pub const POINTS: [&str; 7] = [
    "before-commit",
    "after-commit-before-reply",
    "after-reply-before-send",
    "after-send-before-outcome",
    "in-activity",
    "in-passivation",
    "",
];

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds played.
    pub rounds: u32,
    /// Times the process was killed or ended at a crash point.
    pub kills: u32,
    /// Named crash points at which the process ended at least once.
    pub points: BTreeSet<&'static str>,
    /// Negotiations acknowledged, all found FINALIZED once on both sides.
    pub negotiations: usize,
    /// Transfers acknowledged, all found STARTED once on both sides.
    pub transfers: usize,
    /// Participants onboarded under fire, each with exactly its credentials.
    pub participants: usize,
}

struct Cast {
    admin: Caller,
    platform: operator::Platform,
    provider: Participant,
    consumer: Participant,
    offer: Offer,
}

/// Everything that was acknowledged.
#[derive(Default)]
struct Ledger {
    negotiations: BTreeSet<String>,
    agreements: BTreeSet<String>,
    transfers: BTreeSet<String>,
    holders: Vec<Participant>,
}

/// Plays `rounds` rounds with this seed.
///
/// # Errors
/// At the first promise that was not kept; the message names the round, point and seed.
pub async fn run(launch: &Launch, rounds: u32, seed: u64, tell: impl Fn(String)) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut platform = launch.start().await?;
    let endpoints = platform.endpoints.clone();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(40)).build()?;
    let mut client = Client::new(http, endpoints.admin.clone(), endpoints.public.clone(), Box::new(Silent));
    client.patience = Some(Patience { limit: Duration::from_secs(60), pause: Duration::from_millis(20) });
    let source = cellspace_client::source::serve().await?;
    let cast = prepare(&mut client, &endpoints.client_id, &endpoints.client_secret, &format!("http://{source}")).await?;
    let (mut ledger, mut report) = (Ledger::default(), Report::default());
    for round in 0..rounds {
        let point = POINTS[usize::try_from(round).unwrap_or_default() % POINTS.len()];
        let named = format!("round {round} of seed {seed}, {}", if point.is_empty() { "random moment" } else { point });
        tell(named.clone());
        platform.kill().await?;
        // The rare points are passed only a few times in a round.
        let most = if matches!(point, "in-activity" | "in-passivation") { 2 } else { 6 };
        let crash = (!point.is_empty()).then(|| format!("{point}:{}", random.random_range(1..=most)));
        let armed = crash.is_some();
        platform = match (Launch { crash, ..launch.clone() }.start().await) {
            Ok(platform) => platform,
            // What was left to do is taken up before the platform is ready: the point may be passed already then.
            Err(_) if armed => {
                report.kills += 1;
                report.points.insert(point);
                launch.start().await.with_context(|| named.clone())?
            }
            Err(error) => return Err(error.context(named)),
        };
        let wild = Duration::from_millis(random.random_range(1..800));
        let newcomer = point == "in-activity" || round % 5 == 0;
        let work = work(&mut client, &cast, &mut ledger, newcomer.then_some(round));
        let deaths = under_fire(launch, &mut platform, work, point.is_empty().then_some(wild)).await.with_context(|| named)?;
        if deaths > 0 && !point.is_empty() {
            report.points.insert(point);
        }
        report.kills += 1 + deaths;
        report.rounds += 1;
    }
    verify(&client, &cast, &ledger).await.with_context(|| format!("after all rounds of seed {seed}"))?;
    platform.kill().await?;
    report.negotiations = ledger.negotiations.len();
    report.transfers = ledger.transfers.len();
    report.participants = ledger.holders.len();
    Ok(report)
}

/// Does the work while the process dies, at the armed point or after `wild`, and is started again. Answers the number of deaths.
async fn under_fire(
    launch: &Launch,
    platform: &mut Platform,
    work: impl Future<Output = Result<()>>,
    wild: Option<Duration>,
) -> Result<u32> {
    let mut work = std::pin::pin!(work);
    let mut deaths = 0;
    loop {
        let moment = async {
            match wild {
                Some(wild) if deaths == 0 => tokio::time::sleep(wild).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            done = &mut work => { done?; return Ok(deaths); }
            () = moment => platform.kill().await?,
            ended = platform.ended() => {
                let status = ended?;
                if deaths > 0 { bail!("the platform ended again by itself: {status}; see {}", launch.log.display()) }
            }
        }
        deaths += 1;
        *platform = launch.start().await?;
    }
}

async fn prepare(client: &mut Client, client_id: &str, secret: &str, source: &str) -> Result<Cast> {
    let admin = client.client_token("admin", client_id, secret).await?;
    let host = did_host(&client.public);
    let platform = operator::prepare(client, admin.clone(), &host).await?;
    let provider = tenants::onboard(client, &platform, "provider", &host, true).await?;
    let consumer = tenants::onboard(client, &platform, "consumer", &host, true).await?;
    provider::offer(client, &provider, source).await?;
    let offers = sharing::catalog(client, &consumer, &provider, 3).await?;
    let open = offers.into_iter().find(|offer| offer.asset == provider::DATA_SET && offer.policy.to_string().contains("Membership"));
    Ok(Cast { admin, platform, provider, consumer, offer: open.context("no open offer")? })
}

/// Host part of the platform's DIDs.
fn did_host(public: &str) -> String {
    public.trim_start_matches("http://").replace(':', "%3A")
}

async fn work(client: &mut Client, cast: &Cast, ledger: &mut Ledger, newcomer: Option<u32>) -> Result<()> {
    let (ours, theirs) = sharing::negotiate(client, &cast.consumer, &cast.provider, &cast.offer, "FINALIZED").await?;
    let theirs = theirs.context("the provider does not know an acknowledged negotiation")?;
    let agreement = ours["contractAgreementId"].as_str().context("no agreement")?.to_owned();
    check(theirs["contractAgreementId"] == agreement.as_str(), || "the sides hold different agreements".to_owned())?;
    check(ledger.negotiations.insert(ours["@id"].to_string()), || "a negotiation id was given twice".to_owned())?;
    check(ledger.agreements.insert(agreement.clone()), || "an agreement was made twice".to_owned())?;
    let pull = sharing::start_pull(client, &cast.consumer, &cast.provider, &agreement).await?;
    check(ledger.transfers.insert(pull.transfer.clone()), || "a transfer id was given twice".to_owned())?;
    if let Some(round) = newcomer {
        // Names live as long as the story: one per newcomer is leaked on purpose.
        let name: &'static str = Box::leak(format!("newcomer-{round}").into_boxed_str());
        let host = did_host(&client.public);
        ledger.holders.push(tenants::onboard(client, &cast.platform, name, &host, false).await?);
    }
    Ok(())
}

async fn all(client: &Client, who: &Participant, resource: &str) -> Result<Vec<Value>> {
    let query = Client::typed("QuerySpec", json!({ "limit": 1000 }));
    let answer = client.exchange(Some(&who.caller), Method::POST, &who.path(resource), Some(&query)).await?;
    answer.body.as_array().cloned().with_context(|| format!("{resource} answered {}: {}", answer.status, answer.body))
}

/// Each acknowledged thing is there exactly once on both sides, and nothing else is.
async fn verify(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    for (resource, acknowledged, state) in [
        ("contractnegotiations/request", ledger.negotiations.len(), "FINALIZED"),
        ("transferprocesses/request", ledger.transfers.len(), "STARTED"),
    ] {
        let (ours, theirs) = (all(client, &cast.consumer, resource).await?, all(client, &cast.provider, resource).await?);
        for (side, rows) in [("consumer", &ours), ("provider", &theirs)] {
            check(rows.len() == acknowledged, || format!("{resource}: {} at the {side}, {acknowledged} acknowledged", rows.len()))?;
            let other = rows.iter().find(|row| row["state"] != state);
            check(other.is_none(), || format!("{resource}: at the {side} one is not {state}: {other:?}"))?;
        }
        let pairs: BTreeSet<String> = theirs.iter().map(|row| row["correlationId"].to_string()).collect();
        let ids: BTreeSet<String> = ours.iter().map(|row| row["@id"].to_string()).collect();
        check(pairs == ids, || format!("{resource}: the sides do not correspond"))?;
    }
    let issued = format!("/api/issuer/admin/participants/{ISSUER}/credentials/query");
    let issued = client.exchange(Some(&cast.platform.issuer), Method::POST, &issued, Some(&json!({ "limit": 1000 }))).await?.body;
    let expected = 2 * CREDENTIALS.len() + ledger.holders.len();
    let found = issued.as_array().map_or(0, Vec::len);
    check(found == expected, || format!("the issuer issued {found} credentials, expected {expected}"))?;
    for holder in &ledger.holders {
        let path = format!("/api/identity/v1beta/participants/{}/credentials", holder.context);
        let held = client.exchange(Some(&holder.caller), Method::GET, &path, None).await?.body;
        check(held.as_array().map(Vec::len) == Some(1), || format!("{} holds {held}", holder.did))?;
    }
    let tenants = client.exchange(Some(&cast.admin), Method::GET, "/api/tm/tenants?limit=1000", None).await?.body;
    let expected = 2 + ledger.holders.len();
    check(tenants.as_array().map(Vec::len) == Some(expected), || format!("{expected} tenants were created, found {tenants}"))
}
