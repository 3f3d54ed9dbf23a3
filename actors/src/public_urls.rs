//! The installation's own base URLs: part of the data, since DIDs contain them.

use cellspace_schemas::{Did, Owner, ParticipantContextId, issuer::CredentialDefinitionId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Base URLs without a trailing slash.
#[derive(Debug, Clone)]
pub struct PublicUrls {
    /// Public listener: DSP, DCP, DID documents, status lists, data.
    pub public: Url,
    /// Admin listener: management APIs, token service, DPS.
    pub admin: Url,
}

impl PublicUrls {
    fn join(base: &Url, path: &str) -> String {
        format!("{}{path}", base.as_str().trim_end_matches('/'))
    }

    /// A path on the public listener.
    #[must_use]
    pub fn public(&self, path: &str) -> String {
        Self::join(&self.public, path)
    }

    /// A path on the admin listener.
    #[must_use]
    pub fn admin(&self, path: &str) -> String {
        Self::join(&self.admin, path)
    }

    /// DSP base of a participant in the profile with this path, which begins with a slash: `{public}/api/dsp/{participant}{path}`.
    #[must_use]
    pub fn dsp(&self, participant: &ParticipantContextId, path: &str) -> String {
        format!("{}/api/dsp/{participant}{path}", self.public.as_str().trim_end_matches('/'))
    }

    /// DSP version discovery of a participant, the `DataService` endpoint of its DID document.
    #[must_use]
    pub fn dsp_versions(&self, participant: &ParticipantContextId) -> String {
        self.public(&format!("/api/dsp/{participant}/.well-known/dspace-version"))
    }

    /// DCP credential service of a participant, the `CredentialService` endpoint of its DID document.
    #[must_use]
    pub fn credential_service(&self, participant: &ParticipantContextId) -> String {
        self.public(&format!("/api/credentials/v1/participants/{participant}"))
    }

    /// DCP issuance endpoints of a hosted issuer, the `IssuerService` endpoint of its DID document.
    #[must_use]
    pub fn issuer_service(&self, issuer: &ParticipantContextId) -> String {
        self.public(&format!("/api/issuance/v1beta/participants/{issuer}"))
    }

    /// The JSON schema of what a credential definition of a hosted issuer says of its subjects.
    #[must_use]
    pub fn credential_schema(&self, issuer: &ParticipantContextId, definition: &CredentialDefinitionId) -> String {
        format!("{}/schemas/{}", self.issuer_service(issuer), utf8_percent_encode(definition.as_str(), NON_ALPHANUMERIC))
    }

    /// A status list credential of a hosted issuer.
    #[must_use]
    pub fn status_list(&self, issuer: &ParticipantContextId, list: &str) -> String {
        self.public(&format!("/statuslist/{issuer}/{list}"))
    }

    /// Base of the platform's data plane for a participant, as registered with its control plane.
    #[must_use]
    pub fn dataflows(&self, participant: &ParticipantContextId) -> String {
        self.admin(&format!("/api/v1/{participant}/dataflows"))
    }

    /// Where a participant's data plane answers control plane callbacks to: the signaling base.
    #[must_use]
    pub fn signaling(&self, participant: &ParticipantContextId) -> String {
        self.admin(&format!("/api/signaling/{participant}"))
    }

    /// Public data endpoint of a running flow.
    #[must_use]
    pub fn data(&self, participant: &ParticipantContextId, flow: &str) -> String {
        self.public(&format!("/api/data/{participant}/{flow}"))
    }

    /// Host part of every DID served here: host and port, the colon percent-encoded (did:web 3.2).
    #[must_use]
    pub fn did_host(&self) -> String {
        let host = self.public.host_str().unwrap_or_default();
        self.public.port().map_or_else(|| host.to_owned(), |port| format!("{host}%3A{port}"))
    }

    /// The path segments of a did:web that this installation serves, joined with `/` (empty for a bare host); `None` for any other DID.
    #[must_use]
    pub fn did_path(&self, did: &Did) -> Option<Owner> {
        let rest = did.as_str().strip_prefix("did:web:")?.strip_prefix(&self.did_host())?;
        let path = match rest {
            "" => ".well-known".to_owned(),
            _ => rest.strip_prefix(':')?.replace(':', "/"),
        };
        Owner::new(path).ok()
    }
}
