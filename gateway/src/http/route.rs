//! The route table's rows. The table is the only list of operations: routing, authorisation and documentation read it.

use super::{ApiError, Reply, Request};
use crate::App;
use futures::future::BoxFuture;
use http::Method;

/// Which listener serves a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// DSP, DCP, DID documents, status lists, data: open to the world.
    Public,
    /// Management, Identity, Issuer, fabric, token service, DPS.
    Admin,
    /// Health, metrics, version.
    Ops,
}

/// Whose error body and paths a route follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// Management API (error array).
    Management,
    /// Identity API (error array).
    Identity,
    /// Issuer admin API (error array).
    IssuerAdmin,
    /// DSP catalog (`CatalogError`).
    DspCatalog,
    /// DSP negotiation (`ContractNegotiationError`).
    DspNegotiation,
    /// DSP transfer (`TransferError`).
    DspTransfer,
    /// DSP version discovery (`VersionsError`).
    DspVersion,
    /// DCP endpoints (error array).
    Dcp,
    /// Data plane signaling and the data plane's own routes (error array).
    Dps,
    /// Tenant and provision manager (`{error, message, code}`).
    Fabric,
    /// Token service (OAuth2 error).
    OAuth,
    /// Data, DID documents, operations and everything no peer has (RFC 9457).
    Native,
}

/// Whether the provisioner role may call an operation, in place of the `:admin` scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provisioner {
    /// On the provisioner's list.
    Listed,
    /// 403 for provisioners, whatever scopes they carry.
    Denied,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// No token of ours is asked for (the protocol has its own, or none).
    Open,
    /// A token with this scope. A `{participant}` (or `{issuer}`) parameter of the path must be the token's own participant, unless the caller
    /// is an admin, or a listed provisioner that is not bound to another one.
    Scope(&'static str, Provisioner),
}

/// The function behind a route.
pub type Handler = fn(App, Request) -> BoxFuture<'static, Result<Reply, ApiError>>;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Where it is served.
    pub listener: Listener,
    /// Whose words it speaks.
    pub api: Api,
    /// Method.
    pub method: Verb,
    /// Path without the API's prefix; `{name}` matches one segment (percent-decoded), `{*name}` the rest (as received, maybe empty).
    pub path: &'static str,
    /// Prefixes under which the path is served; the first one is the canonical one.
    pub prefixes: &'static [&'static str],
    /// Who may call.
    pub access: Access,
    /// What it does.
    pub handler: Handler,
}

/// Methods that routes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET (also answers HEAD)
    Get,
    /// GET of what goes on until its client leaves: it counts among the long polls for as long as it lasts.
    Follow,
    /// POST
    Post,
    /// POST that waits for what others do: it counts among the long polls.
    Await,
    /// POST with a query in its body: it changes nothing.
    Query,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Verb {
    /// Whether an operation with it changes nothing.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Follow | Self::Query)
    }

    /// The HTTP method.
    #[must_use]
    pub const fn http(self) -> Method {
        match self {
            Self::Get | Self::Follow => Method::GET,
            Self::Post | Self::Await | Self::Query => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}
