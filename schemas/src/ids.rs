//! A type per identifier, so that two ids cannot be swapped by accident and every id is bounded before it is trusted.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use std::{fmt, str::FromStr, sync::Arc};

/// Longest identifier accepted from outside, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// Longest offer id accepted from outside, in bytes.
pub const MAX_OFFER_ID_BYTES: usize = 1024;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("an identifier must not be empty")]
    Empty,
    /// The text has more than so many bytes.
    #[error("the identifier has more than {0} bytes")]
    TooLong(usize),
    /// The text holds white space or a control character.
    #[error("an identifier must not contain white space or control characters")]
    BadCharacter,
}

/// The rule that every identifier follows.
pub(crate) fn check(text: &str, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > max {
        Err(IdError::TooLong(max))
    } else if text.bytes().all(|b| b.is_ascii_graphic()) || !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        // Nearly all are of such characters alone, which is seen sooner.
        Ok(())
    } else {
        Err(IdError::BadCharacter)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $crate::ids::id!($(#[$doc])* $name, $crate::ids::MAX_ID_BYTES);
    };
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes the identifier of it.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long, or has white space or control characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                $crate::ids::check(text, $max)?;
                Ok(Self(Arc::from(text)))
            }

            /// A fresh identifier: the text form of a UUID made by the caller (this crate knows no randomness).
            #[must_use]
            pub fn from_uuid(uuid: uuid::Uuid) -> Self {
                Self(Arc::from(uuid.to_string().as_str()))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use id;

id!(
    /// Opaque owner of agents: a participant context, tenant, orchestration, issuer or reservation. Placement hashes it.
    Owner
);
impl Owner {
    /// Owner of what belongs to the whole installation: settings, clients of the token service, registries.
    #[must_use]
    pub fn installation() -> Self {
        Self(Arc::from("installation"))
    }

    /// Owner of one of the shards of an installation-wide kind of agents.
    #[must_use]
    pub fn shard(kind: &'static str, number: u64) -> Self {
        Self(Arc::from(format!("{kind}-{number:02}").as_str()))
    }
}

id!(
    /// A client of the embedded token service.
    ClientId
);
id!(
    /// A participant context (never a DID): what `/participants/{id}` names.
    ParticipantContextId
);
id!(
    /// An asset (a DCAT dataset) of one participant.
    AssetId
);
id!(
    /// A policy definition of one participant.
    PolicyDefinitionId
);
id!(
    /// A contract definition of one participant.
    ContractDefinitionId
);
id!(
    /// Our own process id of a contract negotiation (`consumerPid` or `providerPid`, by role).
    NegotiationId
);
id!(
    /// A contract agreement; both parties know it by this id.
    AgreementId
);
id!(
    /// Our own process id of a transfer.
    TransferId
);
id!(
    /// A dataspace profile: its name, for example `http-dsp-profile-2025-1`.
    ProfileId
);
id!(
    /// A participant as the messages of a dataspace name it: mostly a DID, opaque to a data plane.
    PartyId
);
id!(
    /// A source of data that one participant's data plane reads from.
    SourceName
);
id!(
    /// A process id (`consumerPid`, `providerPid`) as a counterparty chose it; an IRI, opaque to us (DSP 2025-1).
    Pid
);
id!(
    /// The `@id` of a protocol message, as its sender chose it.
    MessageId
);
id!(
    /// An offer as it stands in a catalog (`hasPolicy[].@id`), opaque to everyone but its provider. Longer than other identifiers, since
    /// connectors build it of theirs.
    OfferId, MAX_OFFER_ID_BYTES
);
id!(
    /// How data is transferred: a distribution's `format`, a data plane's profile, for example `HttpData-PULL`.
    TransferType
);
id!(
    /// A registered data plane of one participant.
    DataPlaneId
);
id!(
    /// Name of a key or secret within one participant's part of the vault.
    KeyAlias
);
id!(
    /// A secret that a participant's client has given to keep; where it lies in the vault is the platform's business.
    SecretId
);

impl Owner {
    /// From the text of another identifier, which has been checked.
    pub(crate) fn of_checked(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl TransferType {
    /// Whether the provider sends to an address of the consumer's (data plane signaling, "Transfer Profile Requirements": the value ends in `-push`).
    #[must_use]
    pub fn is_push(&self) -> bool {
        self.0.len() >= 5 && self.0.get(self.0.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("-push"))
    }
}

impl From<&NegotiationId> for Pid {
    fn from(id: &NegotiationId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&TransferId> for Pid {
    fn from(id: &TransferId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&Owner> for ParticipantContextId {
    fn from(owner: &Owner) -> Self {
        Self(owner.0.clone())
    }
}

impl From<&ParticipantContextId> for Owner {
    fn from(id: &ParticipantContextId) -> Self {
        Self(id.0.clone())
    }
}

/// Why a text is not a DID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    /// Not an identifier at all.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Not of the form `did:<method>:<method specific id>` (DID Core 3.1), or with a path, query or fragment.
    #[error("not a DID: expected did:<method>:<id> without path, query or fragment")]
    Syntax,
}

/// A decentralized identifier without path, query or fragment (DID Core 3.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Did(Arc<str>);

struct DidVisitor;

impl<'de> Deserialize<'de> for Did {
    /// From the text where it lies: of all identifiers this one is in every message several times.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DidVisitor)
    }
}

impl Visitor<'_> for DidVisitor {
    type Value = Did;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a DID")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Did, E> {
        Did::new(text).map_err(E::custom)
    }
}

impl Did {
    /// Checks the syntax.
    ///
    /// # Errors
    /// [`DidError`] when the text is no DID, is too long, or is a DID URL.
    pub fn new(text: impl AsRef<str>) -> Result<Self, DidError> {
        Self::check(text.as_ref()).map(|()| Self(Arc::from(text.as_ref())))
    }

    /// As [`Self::new`], where only the syntax is asked for.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(text: &str) -> Result<(), DidError> {
        check(text, MAX_ID_BYTES)?;
        let mut parts = text.splitn(3, ':');
        let (scheme, method, id) = (parts.next(), parts.next(), parts.next());
        let method_ok = method.is_some_and(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        let id_ok = id.is_some_and(|i| {
            !i.is_empty() && i.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'%' | b':'))
        });
        if scheme == Some("did") && method_ok && id_ok { Ok(()) } else { Err(DidError::Syntax) }
    }

    /// The DID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The method, for example `web`.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Did({})", &self.0)
    }
}

impl FromStr for Did {
    type Err = DidError;
    fn from_str(text: &str) -> Result<Self, DidError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Did {
    type Error = DidError;
    fn try_from(text: String) -> Result<Self, DidError> {
        Self::new(text)
    }
}

impl From<Did> for String {
    fn from(did: Did) -> String {
        did.0.to_string()
    }
}

impl AsRef<str> for Did {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dids_are_checked() {
        for good in ["did:web:example.com", "did:web:localhost%3A8080:acme", "did:key:z6Mk"] {
            assert!(Did::new(good).is_ok(), "{good}");
        }
        for bad in ["", "did:", "did:web:", "did:WEB:x", "web:x", "did:web:x#key", "did:web:x/y", "did:web:x?y", "did:web:a b"] {
            assert!(Did::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn push_and_pull() {
        let push = |text: &str| TransferType::new(text).unwrap().is_push();
        assert!(push("HttpData-PUSH") && push("https://w3id.org/dspace-sig/profile/http-push"));
        assert!(!push("HttpData-PULL") && !push("push") && !push("\u{e9}push"));
    }

    #[test]
    fn ids_are_bounded() {
        assert_eq!(AssetId::new(""), Err(IdError::Empty));
        assert_eq!(AssetId::new("a b"), Err(IdError::BadCharacter));
        assert_eq!(AssetId::new("x".repeat(257)), Err(IdError::TooLong(MAX_ID_BYTES)));
        assert!(serde_json::from_str::<AssetId>("\"a\\nb\"").is_err());
    }
}
