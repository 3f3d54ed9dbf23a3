//! From a message's bearer token to a verified counterparty (DCP 1.0, "Presentation Flow", steps 4 to 7).

use super::{
    IdToken, PeerError, Trust, VerifiedPeer, VerifyRequest,
    aged_cache::Weigh,
    asked::Asked,
    credential::{Credential, VerifiedCredential},
    jws::{JwsError, MAX_CREDENTIAL_BYTES},
    keys::SelectedKey,
    presentation::{MAX_PRESENTATIONS, Presentation},
    since::Since,
};
use crate::{outbound::OutboundRequest, settings::TrustedIssuer};
use bytes::Bytes;
use cellspace_cluster::trace;
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::{self, CredentialScope, PresentationResponseMessage, Relationship},
};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use std::{
    collections::BTreeSet,
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tracing::info_span;

/// How long an absent optional credential is believed, where it may be believed at all.
const ABSENCE_AGE: Duration = Duration::from_secs(5);

/// Longest answer to a presentation query, in bytes: a presentation has at most half of it.
const MAX_ANSWER_BYTES: usize = 2 * MAX_CREDENTIAL_BYTES;

/// Makes our own self-issued ID tokens for the queries that a verification sends.
pub trait IssueToken: Send + Sync {
    /// A token for `audience` that carries the counterparty's access `token`.
    fn issue<'a>(&'a self, audience: &'a Did, token: Option<&'a str>) -> BoxFuture<'a, Result<String, PeerError>>;
}

/// Under which a counterparty's presentation is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PresentationKey {
    participant: ParticipantContextId,
    counterparty: Did,
    asked: Arc<Asked>,
    /// Hash of the issuers that counted: credentials of others were not looked at.
    trusted: u64,
}

fn hash_of(trusted: &[TrustedIssuer]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for issuer in trusted {
        (&issuer.id, &issuer.supported_types).hash(&mut hasher);
    }
    hasher.finish()
}

/// Credentials that a counterparty presented for a set of scopes, signatures verified. Trust, dates, keys and status are checked at every use.
#[derive(Debug)]
pub struct Presented {
    credentials: Vec<Arc<VerifiedCredential>>,
    /// With what its holder has signed them.
    signers: Vec<Arc<SelectedKey>>,
    /// Why credentials that would have matched do not count.
    failures: Vec<PeerError>,
    asked: Timestamp,
    valid_until: Timestamp,
}

impl Weigh for Arc<Presented> {
    fn weight(&self) -> u64 {
        self.credentials.iter().map(|credential| credential.weight()).sum()
    }
}

/// What a presentation is worth for a message.
struct Verdict {
    used: Vec<Arc<VerifiedCredential>>,
    missing_required: Option<PeerError>,
    missing_optional: bool,
}

impl Trust {
    /// Verifies the sender of a message, see [`super::verify_peer`].
    ///
    /// # Errors
    /// [`PeerError`] names the rule.
    pub async fn verify(&self, request: &VerifyRequest<'_>, tokens: &dyn IssueToken, now: Timestamp) -> Result<VerifiedPeer, PeerError> {
        let since = Since::new(now);
        let id = self.verify_id_token(request.own_did, request.token, request.call, now, request.slot).await?;
        let asked = self.scopes.of(request)?;
        if asked.all.is_empty() {
            return Ok(VerifiedPeer { did: id.issuer, credentials: Vec::new() });
        }
        let access = id.token.as_deref().ok_or_else(|| PeerError::Refused("the token must carry a token claim".to_owned()))?;
        let key = PresentationKey {
            participant: request.participant.clone(),
            counterparty: id.issuer.clone(),
            asked: asked.clone(),
            trusted: hash_of(request.trusted_issuers),
        };
        let mut again = true;
        loop {
            let load = |_| async {
                let presented = self.query(&id, access, &asked, request, tokens, since).await?;
                let until = presented.valid_until;
                Ok((Arc::new(presented), until))
            };
            let presented = self.presentations.get(&key, now, load).await?;
            let signed = self.still_signed(&presented, &id.issuer, since).await;
            let earlier = presented.asked < now;
            if again && earlier && matches!(signed, Err(PeerError::Refused(_))) {
                again = false;
                self.presentations.forget_older(&key, Duration::from_millis(1), now);
                continue;
            }
            signed?;
            let verdict = self.judge(&presented, &asked, request, since).await?;
            let stale_absence = verdict.missing_optional && !(request.believe_absence && presented.asked.plus(ABSENCE_AGE) > now);
            if again && earlier && (stale_absence || verdict.missing_required.is_some()) {
                again = false;
                self.presentations.forget_older(&key, Duration::from_millis(1), now);
                continue;
            }
            if let Some(reason) = verdict.missing_required {
                return Err(reason);
            }
            return Ok(VerifiedPeer { did: id.issuer, credentials: verdict.used });
        }
    }

    /// Whether its holder has the keys still that the presentation is signed with.
    async fn still_signed(&self, presented: &Presented, holder: &Did, since: Since) -> Result<(), PeerError> {
        for signer in &presented.signers {
            let key = self.resolver.key(holder, Some(&signer.url), Relationship::Authentication, since.now()).await?;
            if key.key != signer.key {
                return Err(JwsError::Signature.of("presentation"));
            }
        }
        Ok(())
    }

    /// Which credentials count now, and what is missing.
    async fn judge(&self, presented: &Presented, asked: &Asked, request: &VerifyRequest<'_>, since: Since) -> Result<Verdict, PeerError> {
        let mut used = Vec::new();
        let mut satisfied = Vec::new();
        let mut reasons: Vec<(Vec<&CredentialScope>, PeerError)> = Vec::new();
        for candidate in &presented.credentials {
            let scopes = scopes_of(&candidate.credential, &asked.all);
            match self.usable(candidate, request.trusted_issuers, since).await {
                Ok(()) => {
                    satisfied.extend(scopes);
                    used.push(candidate.clone());
                }
                // Whether it counts is not known: a decision now might differ from one a second later.
                Err(unknown @ (PeerError::Unreachable(_) | PeerError::TooEarly)) => return Err(unknown),
                Err(reason) => reasons.push((scopes, reason)),
            }
        }
        let missing_required = asked.required.iter().find(|scope| !satisfied.contains(scope)).map(|scope| {
            let reason = reasons.iter().find(|(scopes, _)| scopes.contains(&scope)).map(|(_, reason)| reason.clone());
            reason
                .or_else(|| presented.failures.first().cloned())
                .unwrap_or_else(|| PeerError::Refused(format!("a valid credential for the scope {scope} must be presented")))
        });
        let missing_optional = asked.all.iter().any(|scope| !asked.required.contains(scope) && !satisfied.contains(&scope));
        Ok(Verdict { used, missing_required, missing_optional })
    }

    /// A credential that its holder has itself, when it would count now with whoever trusts these issuers.
    ///
    /// # Errors
    /// [`PeerError`] names the rule.
    pub async fn verify_held(
        &self,
        jwt: &str,
        holder: &Did,
        trusted: &[TrustedIssuer],
        now: Timestamp,
    ) -> Result<Arc<VerifiedCredential>, PeerError> {
        let since = Since::new(now);
        let accept = |credential: &Credential| {
            credential.check_trust(trusted)?;
            Ok(credential.check_holder(holder)?)
        };
        let verified = self.verify_credential(jwt, now, accept).await?;
        self.usable(&verified, trusted, since).await?;
        Ok(verified)
    }

    /// Whether a credential counts at this moment, where these issuers are trusted.
    async fn usable(&self, verified: &VerifiedCredential, trusted: &[TrustedIssuer], since: Since) -> Result<(), PeerError> {
        verified.credential.check_trust(trusted)?;
        self.stands(verified, since).await?;
        if verified.credential.schemas.is_empty() { Ok(()) } else { self.check_schemas(&verified.credential, since).await }
    }

    /// Whether what an issuer signed still is as it was verified, whoever trusts the issuer: its dates, the issuer's key, its status.
    pub(super) async fn stands(&self, verified: &VerifiedCredential, since: Since) -> Result<(), PeerError> {
        let credential = &verified.credential;
        credential.check_dates(since.now())?;
        let key = self.resolver.key(&credential.issuer, Some(&verified.signer.url), Relationship::AssertionMethod, since.now()).await?;
        if key.key != verified.signer.key {
            return Err(JwsError::Signature.of("credential"));
        }
        self.check_status(credential, since.now()).await
    }

    /// Asks the counterparty's credential service, and verifies what it answers.
    async fn query(
        &self,
        id: &IdToken,
        access: &str,
        asked: &Asked,
        request: &VerifyRequest<'_>,
        tokens: &dyn IssueToken,
        since: Since,
    ) -> Result<Presented, PeerError> {
        let holder = &id.issuer;
        let mut granted = None;
        for query in &asked.queries {
            granted = self.ask(holder, access, query.clone(), tokens, since.now()).await?;
            if granted.is_some() {
                break;
            }
        }
        let entries = match granted {
            Some(entries) => entries,
            None if asked.required.is_empty() => Vec::new(),
            None => return Err(not_granted()),
        };
        let mut presented = Presented {
            credentials: Vec::new(),
            signers: Vec::new(),
            failures: Vec::new(),
            asked: since.at(),
            valid_until: since.at().plus(self.options.presentation_age),
        };
        for entry in entries.iter().take(MAX_PRESENTATIONS) {
            let presentation = self.verify_presentation(entry, holder, request.own_did, since.now()).await?;
            presented.valid_until = presentation.valid_until.map_or(presented.valid_until, |until| until.min(presented.valid_until));
            for signer in &presentation.signers {
                if !presented.signers.contains(signer) {
                    presented.signers.push(signer.clone());
                }
            }
            self.take(&mut presented, &presentation, holder, asked, request.trusted_issuers, since).await?;
        }
        Ok(presented)
    }

    /// Adds the credentials of a presentation that were asked for. Nobody but an issuer that is trusted is asked for a key: the holder chose who
    /// stands in there.
    async fn take(
        &self,
        presented: &mut Presented,
        presentation: &Presentation,
        holder: &Did,
        asked: &Asked,
        trusted: &[TrustedIssuer],
        since: Since,
    ) -> Result<(), PeerError> {
        for jwt in &presentation.credentials {
            let (mut read, mut meant) = (false, false);
            let accept = |credential: &Credential| {
                read = true;
                meant = !scopes_of(credential, &asked.all).is_empty();
                if !meant || credential.format != presentation.format {
                    return Err(PeerError::Refused("a presentation must hold credentials of its own format".to_owned()));
                }
                credential.check_trust(trusted)?;
                Ok(credential.check_holder(holder)?)
            };
            let now = since.now();
            match self.verify_credential(jwt, now, accept).await {
                Ok(verified) => {
                    let ends = verified.credential.valid_until.filter(|until| *until > now);
                    presented.valid_until = ends.map_or(presented.valid_until, |until| until.min(presented.valid_until));
                    presented.credentials.push(verified);
                }
                Err(unknown @ (PeerError::Unreachable(_) | PeerError::TooEarly)) => return Err(unknown),
                // One that cannot be read may have been meant.
                Err(reason) if meant || !read => presented.failures.push(reason),
                // Not asked for: neither here nor there.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// One presentation query; `None` when the holder does not grant these scopes.
    async fn ask(
        &self,
        holder: &Did,
        access: &str,
        query: Bytes,
        tokens: &dyn IssueToken,
        now: Timestamp,
    ) -> Result<Option<Vec<serde_json::Value>>, PeerError> {
        let url = self.resolver.below(holder, "CredentialService", &["presentations", "query"], now).await?;
        let request = OutboundRequest {
            method: Method::POST,
            url,
            bearer: Some(tokens.issue(holder, Some(access)).await?),
            body: Some(query),
            accept: Some("application/json"),
            trace: None,
        };
        let unreachable =
            |cause: &dyn Display| PeerError::unreachable(format!("the credential service of {holder} cannot be asked"), cause);
        let span = info_span!("dcp.presentation_query", counterparty = %holder);
        let response = trace::within(span, None, self.fetch.fetch(request, None, MAX_ANSWER_BYTES)).await.map_err(|e| unreachable(&e))?;
        match response.status {
            status if status.is_success() => {
                let message: PresentationResponseMessage = dcp::read(&response.body)
                    .map_err(|_| PeerError::Refused("the credential service must answer with a PresentationResponseMessage".to_owned()))?;
                Ok(Some(message.presentation))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Err(PeerError::Refused("the credential service must answer a presentation query with scopes".to_owned()))
            }
            status => Err(unreachable(&status)),
        }
    }
}

fn not_granted() -> PeerError {
    PeerError::Refused("the credential service must grant the scopes that are asked for".to_owned())
}

fn scopes_of<'a>(credential: &Credential, asked: &'a BTreeSet<CredentialScope>) -> Vec<&'a CredentialScope> {
    let meant = |scope: &&CredentialScope| scope.matches(credential.id.as_deref(), &credential.types, &credential.contexts);
    asked.iter().filter(meant).collect()
}
