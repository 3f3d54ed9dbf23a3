//! Participants with their credentials, verifiers, and the queries between them.

use super::{
    answer::{Expected, Seen},
    held::{Held, KINDS, Kinds},
};
use crate::{
    drive::Verdict,
    http::{Answer, Call, Connection},
    scenario::{catalog::must, hosted::Hosted, members},
    subject::Subject,
    world::{Flaw, Party, World, claims, now},
};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};
use url::form_urlencoded::Serializer;

/// Participants of the platform.
const HOLDERS: usize = 500;
/// Counterparties that ask them.
const VERIFIERS: usize = 200;
/// Participants whose credentials are stored at once.
const AT_ONCE: usize = 16;
/// Which part of the queries asks for, or is granted, other than two credentials.
const OTHERS: f64 = 0.1;

/// A participant with its credentials.
pub struct Holder {
    pub hosted: Arc<Hosted>,
    pub held: Held,
    /// Its place among all.
    number: usize,
    /// Held while a credential is replaced.
    pub change: tokio::sync::Mutex<()>,
}

/// Who asks whom.
pub struct Cast {
    pub world: Arc<World>,
    pub holders: Vec<Arc<Holder>>,
    pub verifiers: Vec<Arc<Party>>,
    pub seen: Seen,
    /// Token with all rights.
    admin: String,
    /// Where participants' own clients get tokens.
    sts: String,
    http: reqwest::Client,
}

/// A verifier that was given an access token: by the participant's own self-issued token, which its client got from the secure token service.
pub struct Granted {
    pub holder: Arc<Holder>,
    pub verifier: Arc<Party>,
    pub access: String,
    /// What it grants, and what will be asked for.
    granted: Kinds,
    asked: Kinds,
}

/// A query that is ready to be sent.
pub struct Query {
    pub granted: Granted,
    /// The verifier's own token, used once.
    token: String,
}

impl Cast {
    /// Makes participants with three credentials each, of an issuer of the load generator's.
    pub async fn open(subject: &Subject, seed: u64) -> Result<Arc<Self>> {
        let world = World::open(seed, VERIFIERS).await?;
        let (_, admin) = subject.client().await?;
        let name = format!("holder{}", members::suffix());
        let hosted = Hosted::many(subject, &admin.token, &name, HOLDERS).await?;
        let (issuer, token) = (&world, &admin.token);
        let stored = stream::iter(hosted.into_iter().enumerate()).map(|(number, hosted)| async move {
            let mut connection = Connection::new(&subject.admin, None)?;
            let credentials = [0, 1, 2].map(|kind| credential(issuer, &hosted.did, number, kind));
            for (kind, jwt) in credentials.iter().enumerate() {
                must(&mut connection, store(&hosted, Method::POST, token, kind, jwt)).await?;
            }
            let held = Held::new(credentials);
            anyhow::Ok(Arc::new(Holder { hosted, held, number, change: tokio::sync::Mutex::default() }))
        });
        let holders = stored.buffered(AT_ONCE).try_collect().await?;
        let verifiers = (0..VERIFIERS).map(|number| world.party(number)).collect::<Result<_>>()?;
        let (sts, http) = (format!("{}/api/sts/token", subject.admin), subject.http.clone());
        Ok(Arc::new(Self { world, holders, verifiers, seen: Seen::default(), admin: admin.token, sts, http }))
    }

    /// A random pair, of which the verifier is granted both credentials and asks for them; now and then less is granted, or other things are asked for.
    pub async fn grant(&self, random: &mut StdRng) -> Result<Granted> {
        let holder = self.holders.get(random.random_range(0..self.holders.len())).context("a participant")?;
        let other = random.random_bool(OTHERS);
        let (granted, asked) =
            if other { (Kinds(random.random_range(1..4)), Kinds(random.random_range(1..8))) } else { (Kinds::BOTH, Kinds::BOTH) };
        self.grant_of(holder, random, granted, asked).await
    }

    /// A random verifier is granted something by this participant.
    pub async fn grant_of(&self, holder: &Arc<Holder>, random: &mut StdRng, granted: Kinds, asked: Kinds) -> Result<Granted> {
        let verifier = self.verifiers.get(random.random_range(0..self.verifiers.len())).context("a verifier")?;
        let access = self.access(&holder.hosted, verifier, granted).await?;
        Ok(Granted { holder: holder.clone(), verifier: verifier.clone(), access, granted, asked })
    }

    /// The participant's client asks for a token that is meant for the verifier; this one takes the access token out of it.
    pub async fn access(&self, from: &Hosted, to: &Party, granted: Kinds) -> Result<String> {
        let scopes: Vec<String> = granted.scopes().collect();
        let form = Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "client_credentials"),
                ("client_id", &from.context),
                ("client_secret", &from.secret),
                ("audience", &to.identity.did),
                ("bearer_access_scope", &scopes.join(" ")),
            ])
            .finish();
        let request = self.http.post(&self.sts).header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await?;
        ensure!(response.status().is_success(), "the secure token service answered {}", response.status());
        let answer: Value = response.json().await?;
        let claims: Value = answer["access_token"].as_str().and_then(claims).context("no token")?;
        ensure!(claims["iss"] == from.did && claims["aud"] == to.identity.did, "a token of others: {claims}");
        claims["token"].as_str().map(str::to_owned).context("no access token in the token")
    }

    /// Issues one of the participant's credentials anew and puts it in the place of the old one, which the next answer must show. Not when another
    /// worker is just doing so.
    pub async fn change(&self, admin: &mut Connection, random: &mut StdRng) -> Result<Option<Arc<Holder>>> {
        let holder = self.holders.get(random.random_range(0..self.holders.len())).context("a participant")?;
        let Ok(_held) = holder.change.try_lock() else { return Ok(None) };
        let kind = random.random_range(0..2);
        let jwt = credential(&self.world, &holder.hosted.did, holder.number, kind);
        holder.held.changing(kind, jwt.clone());
        must(admin, store(&holder.hosted, Method::PUT, &self.admin, kind, &jwt)).await?;
        holder.held.changed(kind);
        Ok(Some(holder.clone()))
    }
}

fn credential(world: &World, holder: &str, number: usize, kind: usize) -> Arc<str> {
    let subject = json!({"id": holder, "since": "2024-05-01T00:00:00Z", "region": format!("region-{}", number % 4), "tier": number % 2});
    world.issuer.issue(KINDS.get(kind).copied().unwrap_or_default(), subject, (number * KINDS.len() + kind) % 100_000).into()
}

fn store(holder: &Hosted, method: Method, token: &str, kind: usize, jwt: &str) -> Call {
    let body = json!({"id": format!("credential-{kind}"), "verifiableCredentialContainer": {"rawVc": jwt}});
    Call::json(method, holder.path("credentials"), token, body.to_string())
}

impl Granted {
    /// Ready to be sent, for half a minute.
    pub fn sign(self) -> Query {
        let token = self.verifier.carrying(&self.holder.hosted.did, &self.access, Flaw::None);
        Query { granted: self, token }
    }

    /// The query, with this token.
    pub fn call(&self, token: String) -> Call {
        let scopes: Vec<String> = self.asked.scopes().collect();
        let body =
            json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "PresentationQueryMessage", "scope": scopes});
        Call {
            method: Method::POST,
            path: format!("{}/presentations/query", self.holder.hosted.service()),
            bearer: Some(token),
            body: body.to_string().into(),
            key: None,
        }
    }
}

impl Query {
    /// The request.
    pub fn call(&self) -> Call {
        self.granted.call(self.token.clone())
    }

    /// Whether an answer is the one that must come. Answers its presentation too.
    pub fn judge<'a>(&self, seen: &Seen, began: (Instant, u64), answer: &'a Answer) -> Result<Option<&'a str>, Verdict> {
        if answer.is_shed() {
            return Err(Verdict::Shed);
        }
        let Granted { holder, verifier, granted, asked, .. } = &self.granted;
        let expected = Expected {
            holder: &holder.hosted.did,
            kid: &holder.hosted.key.kid,
            held: &holder.held,
            verifier: &verifier.identity.did,
            kinds: granted.and(*asked),
            began: began.0,
            second: began.1,
        };
        let judged = if answer.status == 200 { expected.judge(&answer.body, seen) } else { Err(answer.told()) };
        judged.map_err(Verdict::Wrong)
    }

    /// Asks, and judges the answer.
    pub async fn ask(&self, seen: &Seen, connection: &mut Connection) -> Result<Option<String>, Verdict> {
        let (call, began) = (self.call(), (Instant::now(), now()));
        let answer = connection.send(call).await.map_err(|error| Verdict::Wrong(format!("{error:#}")))?;
        self.judge(seen, began, &answer).map(|jwt| jwt.map(str::to_owned))
    }
}
