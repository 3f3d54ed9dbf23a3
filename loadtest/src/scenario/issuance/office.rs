//! An issuer of the platform with holders that it knows.

use crate::{
    drive::Verdict,
    http::{Call, Connection},
    scenario::{
        catalog::must,
        hosted::Hosted,
        members,
        play::{check, exchange},
    },
    subject::Subject,
    world::PublicKey,
};
use anyhow::{Context, Result};
use cellspace_client::operator::{self, CREDENTIALS, Platform};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// Holders that are registered at once.
const AT_ONCE: usize = 16;
/// A page of a query.
const PAGE: usize = 1_000;

/// The issuer.
pub struct Office {
    pub platform: Platform,
    /// The key in its DID document.
    pub key: PublicKey,
    /// Whom it knows.
    pub holders: Vec<Arc<Hosted>>,
    /// Definition and type of what they ask for.
    pub definition: &'static str,
    pub kind: &'static str,
}

impl Office {
    /// Prepares the platform's issuer, and so many participants as its holders.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn open(subject: &Subject, holders: usize) -> Result<Arc<Self>> {
        let (mut client, admin) = subject.client().await?;
        let (host, suffix) = (subject.did_host(), members::suffix());
        let platform = operator::prepare_once_more(&mut client, admin, &host, &suffix).await?;
        let document = format!("/{}/did.json", platform.issuer_context);
        let document = must(&mut Connection::new(&subject.public, None)?, Call::get(document, "")).await?;
        let key = PublicKey::of(&serde_json::from_slice(&document.body)?)?;
        let holders = Hosted::many(subject, &platform.admin.token, &format!("holder{suffix}"), holders).await?;
        let [(definition, kind, _), _] = CREDENTIALS;
        let office = Self { platform, key, holders, definition, kind };
        let (admin, path) = (&subject.admin, &office.path("holders"));
        let register = |holder: &Arc<Hosted>| {
            let body =
                json!({"holderId": holder.did, "did": holder.did, "name": holder.context, "properties": {"since": "2024-05-01T00:00:00Z"}});
            let call = Call::json(Method::POST, path, &office.platform.admin.token, body.to_string());
            async move { must(&mut Connection::new(admin, None)?, call).await.map(drop) }
        };
        stream::iter(&office.holders).map(register).buffered(AT_ONCE).try_collect::<()>().await?;
        Ok(Arc::new(office))
    }

    /// Path of the issuer's resources of a kind.
    pub fn path(&self, resource: &str) -> String {
        format!("/api/issuer/admin/participants/{}/{resource}", self.platform.issuer_context)
    }

    /// A request of a holder, and the wait for its end.
    pub async fn issue(&self, admin: &mut Connection, holder: &Hosted, pid: &str) -> Result<(), Verdict> {
        let token = &self.platform.admin.token;
        let body = json!({"issuerDid": self.platform.issuer_did, "holderPid": pid,
            "credentials": [{"format": "vc20-bssl/jwt", "type": self.kind, "id": self.definition}]});
        let call = Call::json(Method::POST, holder.path("credentials/request"), token, body.to_string());
        let wrong = |error: anyhow::Error| Verdict::Wrong(format!("{error:#}"));
        let made = admin.send(call).await.map_err(wrong)?;
        if made.is_shed() {
            return Err(Verdict::Shed);
        }
        check(made.status == 201, || format!("a request is answered {}", made.told()))?;
        let wait = Call::get(holder.path(&format!("credentials/request/{pid}?wait=ISSUED&timeout=20s")), token);
        let ended = exchange(admin, wait).await?;
        check(ended["status"] == "ISSUED", || format!("the request is {ended}"))
    }

    /// The credentials that a holder has, signed.
    ///
    /// # Errors
    /// When the platform does not say.
    pub async fn held(&self, admin: &mut Connection, holder: &Hosted) -> Result<Vec<String>> {
        let answer = must(admin, Call::get(holder.path("credentials"), &self.platform.admin.token)).await?;
        let all: Vec<Value> = serde_json::from_slice(&answer.body)?;
        let jwt = |held: &Value| held["verifiableCredential"]["rawVc"].as_str().map(str::to_owned).context("no signed form");
        all.iter().map(jwt).collect()
    }

    /// All of the issuer's resources of a kind.
    ///
    /// # Errors
    /// When the platform does not say.
    pub async fn all(&self, admin: &mut Connection, resource: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let body = json!({"offset": all.len(), "limit": PAGE}).to_string();
            let call = Call::json(Method::POST, self.path(&format!("{resource}/query")), &self.platform.admin.token, body);
            let page: Vec<Value> = serde_json::from_slice(&must(admin, call).await?.body)?;
            let more = page.len() == PAGE;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }
}
