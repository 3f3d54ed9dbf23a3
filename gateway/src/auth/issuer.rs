//! Keys of a configured issuer: fetched when needed, kept for a while, fetched again for a key id that is not known.
//!
//! Fetches of one issuer are one at a time and at least [`RETRY_AFTER`] apart, however many tokens name unknown keys. Keys that could not be
//! renewed serve up to [`EXPIRE_AFTER`]: then tokens of the issuer are answered 503, not 401, since nothing is wrong with them.

use super::{Claims, KeySet};
use arc_swap::ArcSwap;
use cellspace_actors::outbound::{OutboundHttp, OutboundRequest};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::Method;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use url::Url;

/// Age at which keys are renewed beside the requests that still use them.
pub const RENEW_AFTER: Duration = Duration::from_secs(600);
/// Age at which keys are not used any more.
pub const EXPIRE_AFTER: Duration = Duration::from_secs(3600);
/// Shortest time between two fetches.
pub const RETRY_AFTER: Duration = Duration::from_secs(10);

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The `iss` of its tokens, compared as text.
    pub issuer: String,
    /// Where its keys are.
    pub jwks: Url,
    /// What its tokens must be for (`aud`, or `azp` of issuers that write the client there). Without one, a token for any other application of
    /// a shared issuer is taken.
    pub audience: Option<String>,
}

/// Keys with the number of their set: verdicts made with an older one are void.
#[derive(Clone)]
pub struct Keys {
    /// Raised when the set changes.
    pub generation: u64,
    /// The keys.
    pub set: Arc<KeySet>,
}

/// The keys cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the token's issuer cannot be fetched now")]
pub struct KeysUnavailable;

#[derive(Default)]
struct State {
    keys: Option<(Keys, Instant, Vec<u8>)>,
    attempted: Option<Instant>,
}

impl State {
    fn live(&self) -> Option<(&Keys, Duration)> {
        let (keys, fetched, _) = self.keys.as_ref()?;
        let age = fetched.elapsed();
        (age < EXPIRE_AFTER).then_some((keys, age))
    }
}

/// Gets the JWKS document, or says why not.
type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// A configured issuer with its keys.
#[derive(Clone)]
pub struct RemoteIssuer(Arc<Inner>);

struct Inner {
    issuer: String,
    audience: Option<String>,
    fetch: Fetch,
    state: ArcSwap<State>,
    flight: Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
}

impl RemoteIssuer {
    /// Knows the issuer; fetches nothing yet. `http` must allow the address of the keys.
    #[must_use]
    pub fn new(config: IssuerConfig, http: OutboundHttp) -> Self {
        let fetch = move || fetch(http.clone(), config.jwks.clone()).boxed();
        Self::with_fetch(config.issuer, config.audience, Box::new(fetch))
    }

    fn with_fetch(issuer: String, audience: Option<String>, fetch: Fetch) -> Self {
        Self(Arc::new(Inner { issuer, audience, fetch, state: ArcSwap::default(), flight: Mutex::default() }))
    }

    /// Its `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whether its token is for this installation.
    #[must_use]
    pub fn is_for_us(&self, claims: &Claims) -> bool {
        let named = |wanted: &String| claims.aud.0.contains(wanted) || claims.azp.as_ref() == Some(wanted);
        self.0.audience.as_ref().is_none_or(named)
    }

    /// The keys as they are in memory; `None` when there are none or they are too old.
    #[must_use]
    pub fn current(&self) -> Option<Keys> {
        self.0.state.load().live().map(|(keys, _)| keys.clone())
    }

    /// Keys that hold the named one, if the issuer has it.
    ///
    /// # Errors
    /// [`KeysUnavailable`] when there are none and none can be fetched now.
    pub async fn keys(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Keys, KeysUnavailable> {
        let state = self.0.state.load_full();
        let may_try = state.attempted.is_none_or(|at| at.elapsed() >= RETRY_AFTER);
        if let Some((keys, age)) = state.live() {
            let known = keys.set.find(kid, algorithm).is_some();
            if known && age >= RENEW_AFTER && may_try {
                drop(self.refresh());
            }
            if known || !may_try {
                return Ok(keys.clone());
            }
        }
        // Somebody else's fetch is waited for, too; only a new one is bounded by the rate.
        let flight = if may_try { Some(self.refresh()) } else { self.0.flight.lock().clone() };
        if let Some(flight) = flight {
            flight.await;
        }
        self.current().ok_or(KeysUnavailable)
    }

    /// Starts a fetch, or joins the one under way. It goes on when its callers leave.
    fn refresh(&self) -> Shared<BoxFuture<'static, ()>> {
        let mut slot = self.0.flight.lock();
        if let Some(flight) = slot.as_ref().filter(|flight| flight.peek().is_none()) {
            return flight.clone();
        }
        let inner = self.0.clone();
        inner.state.rcu(|state| State { keys: state.keys.clone(), attempted: Some(Instant::now()) });
        let flight = async move { inner.renew().await }.boxed().shared();
        tokio::spawn(flight.clone());
        *slot = Some(flight.clone());
        flight
    }
}

impl Inner {
    async fn renew(&self) {
        let outcome = (self.fetch)().await.and_then(|raw| {
            let set = serde_json::from_slice(&raw).ok().and_then(|jwks| KeySet::parse(&jwks));
            set.map(|set| (set, raw)).ok_or_else(|| "the answer is no JWKS".to_owned())
        });
        match outcome {
            Ok((set, raw)) => self.store(set, raw),
            Err(reason) => tracing::warn!(category = "app", issuer = %self.issuer, %reason, "keys of the token issuer cannot be fetched"),
        }
    }

    fn store(&self, set: KeySet, raw: Vec<u8>) {
        let set = Arc::new(set);
        self.state.rcu(|state| {
            let keys = match &state.keys {
                Some((keys, _, old)) if *old == raw => keys.clone(),
                other => Keys { generation: other.as_ref().map_or(1, |(keys, _, _)| keys.generation + 1), set: set.clone() },
            };
            State { keys: Some((keys, Instant::now(), raw.clone())), attempted: state.attempted }
        });
    }
}

async fn fetch(http: OutboundHttp, url: Url) -> Result<Vec<u8>, String> {
    let request = OutboundRequest { method: Method::GET, url, bearer: None, body: None, accept: Some("application/json"), trace: None };
    let answer = http.send(request).await.map_err(|e| e.to_string())?;
    if answer.status.is_success() { Ok(answer.body.to_vec()) } else { Err(format!("status {}", answer.status)) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// An issuer whose document and reachability a test changes; counts fetches.
    #[derive(Default)]
    pub struct Source {
        pub document: Mutex<Option<Value>>,
        pub fetches: AtomicUsize,
    }

    impl Source {
        pub fn issuer(self: &Arc<Self>, issuer: &str) -> RemoteIssuer {
            self.issuer_for(issuer, None)
        }

        pub fn issuer_for(self: &Arc<Self>, issuer: &str, audience: Option<&str>) -> RemoteIssuer {
            let source = self.clone();
            let fetch = move || {
                let source = source.clone();
                async move {
                    source.fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    source.document.lock().as_ref().map(|d| d.to_string().into_bytes()).ok_or_else(|| "down".to_owned())
                }
                .boxed()
            };
            RemoteIssuer::with_fetch(issuer.to_owned(), audience.map(str::to_owned), Box::new(fetch))
        }

        fn set(&self, kids: &[&str]) {
            let key = |kid: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
            *self.document.lock() = Some(json!({"keys": kids.iter().map(key).collect::<Vec<_>>()}));
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    async fn knows(issuer: &RemoteIssuer, kid: &str) -> Result<bool, KeysUnavailable> {
        Ok(issuer.keys(Some(kid), Algorithm::EdDSA).await?.set.find(Some(kid), Algorithm::EdDSA).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_for_many_and_a_bounded_rate_for_unknown_keys() {
        let source = Arc::new(Source::default());
        source.set(&["a"]);
        let issuer = source.issuer("i");
        let all = futures::future::join_all((0..20).map(|_| knows(&issuer, "a"))).await;
        assert!(all.iter().all(|known| *known == Ok(true)));
        assert_eq!(source.fetches(), 1);
        source.set(&["a", "b"]);
        for _ in 0..5 {
            assert_eq!(knows(&issuer, "b").await, Ok(false), "too early to ask again");
        }
        assert_eq!(source.fetches(), 1);
        let before = issuer.current().unwrap().generation;
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(knows(&issuer, "b").await, Ok(true));
        assert_eq!((source.fetches(), issuer.current().unwrap().generation), (2, before + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_serve_for_a_while() {
        let source = Arc::new(Source::default());
        let issuer = source.issuer("i");
        assert_eq!(knows(&issuer, "a").await, Err(KeysUnavailable));
        source.set(&["a"]);
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(knows(&issuer, "a").await, Ok(true));
        let generation = issuer.current().unwrap().generation;
        *source.document.lock() = None;
        tokio::time::advance(RENEW_AFTER).await;
        assert_eq!(knows(&issuer, "a").await, Ok(true), "renewed beside the request");
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(source.fetches(), 3);
        // The same document again is the same generation: verdicts stay.
        source.set(&["a"]);
        assert_eq!(knows(&issuer, "a").await, Ok(true));
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(issuer.current().unwrap().generation, generation);
        *source.document.lock() = None;
        tokio::time::advance(EXPIRE_AFTER).await;
        assert!(issuer.current().is_none());
        assert_eq!(knows(&issuer, "a").await, Err(KeysUnavailable));
    }
}
