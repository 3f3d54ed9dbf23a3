//! How much the verification of a sender takes beside the signature checks in it.
//!
//! The product's whole function is measured: ID token with its guard against replay, presentation query, presentation, two credentials, trust, dates,
//! status. DID documents and the status list are in its caches; every token, presentation and credential is seen for the first time. What others answer
//! is in memory, and no token of our own is signed. The signature checks are the same four, of the same texts, on the same keys, with nothing around them.
//! Both take turns after a few verifications each, so that a machine whose speed changes is as fast for one as for the other.

use crate::others::{Counterparty, Others, Ours, Signed, VERIFIER};
use anyhow::{Context, Result, ensure};
use cellspace_actors::{
    settings::TrustedIssuer,
    trust::{PeerError, Trust, TrustOptions, VerifiedPeer, VerifyRequest},
};
use cellspace_schemas::{Did, ParticipantContextId, Timestamp};
use loadtest::world::{Flaw, Party, SCOPES, now};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Counterparties of a round, each of which is seen once in it.
pub const PARTIES: usize = 1_000;
/// Verifications in a row.
const TURN: usize = 20;
/// Signatures of a verification: ID token, presentation, two credentials.
const SIGNATURES: usize = 4;

/// What was found: the medians over all turns.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Time of the function by the time of its signature checks.
    pub ratio: f64,
    /// Time of a verification, in microseconds.
    pub function_us: f64,
    /// Time of its four signature checks, in microseconds.
    pub signatures_us: f64,
    /// How many were verified.
    pub verified: usize,
}

/// A verifier with nothing in its caches but what is said.
struct Verifier {
    trust: Trust,
    participant: ParticipantContextId,
    did: Did,
    required: Vec<String>,
    optional: Vec<String>,
    trusted: Vec<TrustedIssuer>,
    now: Timestamp,
}

impl Verifier {
    fn new(others: &Others) -> Result<Self> {
        let [required, optional] = SCOPES.map(|scope| vec![scope.to_owned()]);
        let issuer = TrustedIssuer { id: Did::new(&others.issuer)?, supported_types: vec!["*".to_owned()] };
        let now = Timestamp::from_seconds(i64::try_from(now())?);
        let trust = Trust::new(others.web.clone(), TrustOptions::default());
        let (participant, did) = (ParticipantContextId::new("verifier")?, Did::new(VERIFIER)?);
        Ok(Self { trust, participant, did, required, optional, trusted: vec![issuer], now })
    }

    async fn verify(&self, token: &str) -> Result<VerifiedPeer, PeerError> {
        let request = VerifyRequest {
            participant: &self.participant,
            own_did: &self.did,
            token,
            call: None,
            required: &self.required,
            optional: &self.optional,
            named: &[],
            trusted_issuers: &self.trusted,
            slot: None,
            believe_absence: false,
        };
        self.trust.verify(&request, &Ours, self.now).await
    }

    async fn refuses(&self, impostor: &Party, flaw: Flaw) -> Result<()> {
        let outcome = self.verify(&impostor.flawed(VERIFIER, flaw)).await;
        ensure!(matches!(outcome, Err(PeerError::Refused(_))), "{} is not refused: {outcome:?}", impostor.identity.did);
        Ok(())
    }
}

/// A verification that is ready: the token, and all signed texts of it.
struct Case<'a> {
    token: String,
    signed: Vec<&'a Signed>,
    own: Signed,
}

impl<'a> Case<'a> {
    fn new(counterparty: &'a Counterparty) -> Result<Self> {
        let token = counterparty.party.token(VERIFIER);
        let own = Signed::read(&token, &counterparty.key)?;
        Ok(Self { token, signed: counterparty.signed.iter().collect(), own })
    }

    fn check(&self) -> Result<()> {
        ensure!(self.signed.iter().copied().chain([&self.own]).all(Signed::is_good), "a signature is not that of its text");
        Ok(())
    }
}

/// Measures for so long, round by round.
pub async fn measure(parties: usize, time: Duration, seed: u64) -> Result<Figures> {
    let others = Others::new(parties + 1, seed)?;
    let (first, counterparties) = others.counterparties.split_first().context("a counterparty")?;
    let mut turns: Vec<(f64, f64)> = Vec::new();
    let (begun, mut verified) = (Instant::now(), 0);
    while verified == 0 || begun.elapsed() < time {
        let verifier = Verifier::new(&others)?;
        // Issuer, its list, and the documents of all.
        verifier.verify(&first.party.token(VERIFIER)).await?;
        for counterparty in counterparties {
            verifier.trust.resolver.document(&Did::new(&counterparty.party.identity.did)?, verifier.now).await?;
        }
        let cases = counterparties.iter().map(Case::new).collect::<Result<Vec<_>>>()?;
        for turn in cases.chunks(TURN) {
            turns.push(take(&verifier, turn, turns.len().is_multiple_of(2)).await?);
            verified += turn.len();
        }
        for impostor in &others.impostors {
            verifier.refuses(impostor, Flaw::None).await?;
        }
        for flaw in [Flaw::Signature, Flaw::Expired] {
            verifier.refuses(&first.party, flaw).await?;
        }
    }
    Ok(Figures {
        ratio: median(turns.iter().map(|(function, signatures)| function / signatures).collect()),
        function_us: median(turns.iter().map(|turn| turn.0).collect()),
        signatures_us: median(turns.iter().map(|turn| turn.1).collect()),
        verified,
    })
}

/// Microseconds of a verification, and of its signature checks.
async fn take(verifier: &Verifier, turn: &[Case<'_>], checks_first: bool) -> Result<(f64, f64)> {
    #[allow(clippy::cast_precision_loss)] // a few
    let each = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6 / turn.len() as f64;
    let checks = || {
        let begun = Instant::now();
        turn.iter().try_for_each(Case::check).map(|()| each(begun))
    };
    let before = if checks_first { Some(checks()?) } else { None };
    let begun = Instant::now();
    for case in turn {
        let peer = verifier.verify(&case.token).await?;
        ensure!(peer.credentials.len() + 2 == SIGNATURES, "{} credentials of {}", peer.credentials.len(), peer.did);
    }
    let function = each(begun);
    Ok((function, before.map_or_else(checks, Ok)?))
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_are_verified_and_impostors_are_not() {
        let figures = measure(TURN + 1, Duration::ZERO, 1).await.unwrap();
        assert_eq!(figures.verified, TURN + 1);
        assert!([figures.ratio, figures.function_us, figures.signatures_us].iter().all(|figure| figure.is_normal()), "{figures:?}");
    }

    #[tokio::test]
    async fn each_verification_checks_four_signatures() {
        let others = Others::new(1, 2).unwrap();
        let case = Case::new(&others.counterparties[0]).unwrap();
        assert_eq!(case.signed.len() + 1, SIGNATURES);
        assert!(case.check().is_ok());
        let mut forged = Case::new(&others.counterparties[0]).unwrap();
        forged.own.text.push('x');
        assert!(forged.check().is_err());
    }
}
