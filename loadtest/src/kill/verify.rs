//! Each acknowledged thing is there exactly once, on every side that holds it, and nothing else is.

use super::work::{Cast, Ledger};
use anyhow::{Context, Result};
use cellspace_client::{
    Caller, Client, check,
    operator::{CREDENTIALS, ISSUER},
    provider, sharing,
    tenants::Participant,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// All checks.
pub async fn all(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    definitions(client, cast, ledger).await?;
    let negotiations = "contractnegotiations/request";
    let (ours, theirs) = both(client, cast, negotiations, ledger.negotiations.len()).await?;
    for row in ours.iter().chain(&theirs) {
        check(row["state"] == "FINALIZED", || format!("an acknowledged negotiation is not FINALIZED: {row}"))?;
    }
    let agreements = texts(&ours, "contractAgreementId");
    check(agreements == ledger.agreements && agreements == texts(&theirs, "contractAgreementId"), || {
        format!("the agreements are {agreements:?}, acknowledged were {:?}", ledger.agreements)
    })?;
    let (ours, theirs) = both(client, cast, "transferprocesses/request", ledger.transfers.len()).await?;
    for (rows, id) in [(&ours, "@id"), (&theirs, "correlationId")] {
        for row in rows {
            let expected = row[id].as_str().and_then(|id| ledger.transfers.get(id));
            check(expected.is_some_and(|state| row["state"] == *state), || format!("a transfer is not {expected:?}: {row}"))?;
        }
    }
    for (participant, rows) in [(&cast.consumer, &ours), (&cast.provider, &theirs)] {
        flows(client, cast, participant, rows).await?;
    }
    issuer(client, cast, ledger).await?;
    fabric(client, cast, ledger).await?;
    given_up(client, cast, ledger).await
}

fn texts(rows: &[Value], field: &str) -> BTreeSet<String> {
    rows.iter().filter_map(|row| row[field].as_str()).map(str::to_owned).collect()
}

/// A list; `query` is the body, `None` a GET.
async fn list(client: &Client, caller: &Caller, path: &str, query: Option<Value>) -> Result<Vec<Value>> {
    let method = if query.is_some() { Method::POST } else { Method::GET };
    let answer = client.exchange(Some(caller), method, path, query.as_ref()).await?;
    answer.body.as_array().cloned().with_context(|| format!("{path} answered {}: {}", answer.status, answer.body))
}

/// What the provider defined, under fire and before.
async fn definitions(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    let provider = &cast.provider;
    let with = |more: &[&str]| ledger.assets.iter().cloned().chain(more.iter().map(|&id| id.to_owned())).collect::<BTreeSet<_>>();
    for (resource, expected) in [
        ("assets/request", with(&[provider::DATA_SET, provider::FILE])),
        ("policydefinitions/request", with(&["requires-MembershipCredential", "requires-ManufacturerCredential"])),
        ("contractdefinitions/request", with(&["open", "restricted", "hidden"])),
    ] {
        let rows = sharing::all(client, provider, resource).await?;
        let found = texts(&rows, "@id");
        check(found == expected && rows.len() == expected.len(), || format!("{resource}: {found:?}, acknowledged were {expected:?}"))?;
    }
    for asset in &ledger.assets {
        let path = format!("/participants/{}/sources/{asset}", provider.context);
        let found = client.exchange(Some(&provider.caller), Method::GET, &path, None).await?;
        check(found.status == 200, || format!("the source {asset} answered {}", found.status))?;
    }
    Ok(())
}

/// Rows of consumer and provider: as many as acknowledged, and each the counterpart of another.
async fn both(client: &Client, cast: &Cast, resource: &str, acknowledged: usize) -> Result<(Vec<Value>, Vec<Value>)> {
    let (ours, theirs) = (sharing::all(client, &cast.consumer, resource).await?, sharing::all(client, &cast.provider, resource).await?);
    for (side, rows) in [("consumer", &ours), ("provider", &theirs)] {
        check(rows.len() == acknowledged, || format!("{resource}: {} at the {side}, {acknowledged} acknowledged", rows.len()))?;
    }
    check(texts(&theirs, "correlationId") == texts(&ours, "@id"), || format!("{resource}: the sides do not correspond"))?;
    Ok((ours, theirs))
}

/// Each transfer's flow is where the transfer is.
async fn flows(client: &Client, cast: &Cast, participant: &Participant, transfers: &[Value]) -> Result<()> {
    for transfer in transfers {
        let id = transfer["@id"].as_str().context("a transfer without id")?;
        let path = format!("/api/v1/{}/dataflows/{id}/status", participant.context);
        let flow = client.exchange(Some(&cast.admin), Method::GET, &path, None).await?;
        check(flow.status == 200 && flow.body["state"] == transfer["state"], || {
            format!("the flow of {} is {} {}", transfer, flow.status, flow.body)
        })?;
    }
    Ok(())
}

/// The issuer has a holder for each participant, and a process and the credentials for each request.
async fn issuer(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    let issuer = &cast.platform.issuer;
    let base = format!("/api/issuer/admin/participants/{ISSUER}");
    let everything = || Some(json!({ "limit": 1000 }));
    let here: BTreeSet<String> = [&cast.provider, &cast.consumer].into_iter().chain(&ledger.holders).map(|p| p.did.clone()).collect();
    let holders = list(client, issuer, &format!("{base}/holders/query"), everything()).await?;
    check(texts(&holders, "did") == here && holders.len() == here.len(), || format!("the holders are {holders:?}, expected {here:?}"))?;
    let onboarded = 2 + ledger.holders.len() + ledger.disposed.len();
    let processes = list(client, issuer, &format!("{base}/issuanceprocesses/query"), everything()).await?;
    check(processes.len() == onboarded && processes.iter().all(|process| process["state"] == "DELIVERED"), || {
        format!("{onboarded} requests were made, the processes are {processes:?}")
    })?;
    let issued = list(client, issuer, &format!("{base}/credentials/query"), everything()).await?;
    let expected = 2 * CREDENTIALS.len() + ledger.holders.len() + ledger.disposed.len();
    check(issued.len() == expected, || format!("the issuer issued {} credentials, expected {expected}", issued.len()))
}

/// Tenants, profiles, orchestrations and participant contexts.
async fn fabric(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    let operator = &cast.platform.provisioner;
    let tenants = list(client, operator, "/api/tm/tenants?limit=1000", None).await?;
    let onboarded = 2 + ledger.holders.len() + ledger.disposed.len();
    check(tenants.len() == onboarded, || format!("{onboarded} tenants were created, found {tenants:?}"))?;
    for tenant in &tenants {
        let id = tenant["id"].as_str().context("a tenant without id")?;
        let profiles = list(client, operator, &format!("/api/tm/tenants/{id}/participant-profiles"), None).await?;
        check(profiles.len() == 1, || format!("one participant was asked for, found {profiles:?}"))?;
    }
    let orchestrations = list(client, operator, "/api/pm/orchestrations/query", Some(json!({ "predicate": "true" }))).await?;
    let expected = onboarded + ledger.disposed.len();
    check(orchestrations.len() == expected, || format!("{expected} orchestrations were started, found {}", orchestrations.len()))?;
    for (participants, state, status) in [(&ledger.holders, "active", 200), (&ledger.disposed, "disposed", 404)] {
        for participant in participants {
            let profile = client.exchange(Some(operator), Method::GET, &participant.profile, None).await?.body;
            let agents = profile["vpas"].as_array().cloned().unwrap_or_default();
            let settled = agents.len() == 4 && agents.iter().all(|agent| agent["state"] == state);
            check(settled, || format!("the agents of {} are not {state}: {profile}", participant.did))?;
            for api in ["/api/mgmt/v5beta", "/api/identity/v1beta"] {
                let found =
                    client.exchange(Some(operator), Method::GET, &format!("{api}/participants/{}", participant.context), None).await?;
                check(found.status == status, || format!("the context of {} at {api} is {}", participant.did, found.status))?;
            }
        }
    }
    for holder in &ledger.holders {
        let path = format!("/api/identity/v1beta/participants/{}/credentials", holder.context);
        let held = list(client, &holder.caller, &path, None).await?;
        check(held.len() == 1, || format!("{} holds {held:?}", holder.did))?;
    }
    Ok(())
}

/// Whatever was under way when the process died was told in the end: no dead letters.
async fn given_up(client: &Client, cast: &Cast, ledger: &Ledger) -> Result<()> {
    let participants = [&cast.provider, &cast.consumer].into_iter().chain(&ledger.holders).map(|participant| participant.context.as_str());
    let agents = participants.flat_map(|owner| ["control-plane", "credential-service", "data-plane"].map(|kind| (kind, owner)));
    for (kind, owner) in agents.chain([("issuer", ISSUER), ("credential-service", ISSUER)]) {
        let path = format!("/api/runtime/agents/{kind}/{owner}/outbox");
        let found = client.exchange(Some(&cast.admin), Method::GET, &path, None).await?;
        check(found.status == 200 && found.body["deadLetters"] == json!([]), || {
            format!("{kind}/{owner} gave up: {} {}", found.status, found.body)
        })?;
    }
    let parked = client.exchange(Some(&cast.admin), Method::GET, "/api/runtime/parked", None).await?;
    check(parked.body == json!([]), || format!("agents are parked: {}", parked.body))
}
