//! Which documents each route takes and answers. A test fails for a route without a line, and for a line without a route.

use super::documents::Document;
use crate::{
    http::Route,
    routes::{
        dsp_classic::NAMED,
        management_v4::PARTICIPANT,
        prefixes::{DSP, DSP_CLASSIC, MANAGEMENT_PARTICIPANT, MANAGEMENT_V4},
    },
};

/// What one direction carries.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// One document, which must be there.
    One(Document),
    /// One document, or nothing.
    Maybe(Document),
    /// A list of documents.
    List(Document),
    /// A form with the members of a document.
    Form(Document),
    /// Something else than JSON, of this media type.
    Other(&'static str),
}

impl Content {
    /// `-`, `Name`, `Name?`, `[Name]`, `form Name` or `*media/type`; `None` for a name that is nobody's.
    fn read(text: &'static str) -> Option<Self> {
        if text == "-" {
            return Some(Self::Nothing);
        }
        if let Some(media) = text.strip_prefix('*') {
            return Some(Self::Other(media));
        }
        if let Some(name) = text.strip_suffix('?') {
            return Document::named(name).map(Self::Maybe);
        }
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Document::named(name).map(Self::List);
        }
        match text.strip_prefix("form ") {
            Some(name) => Document::named(name).map(Self::Form),
            None => Document::named(text).map(Self::One),
        }
    }

    /// The document in it.
    #[must_use]
    pub const fn document(self) -> Option<Document> {
        match self {
            Self::One(document) | Self::Maybe(document) | Self::List(document) | Self::Form(document) => Some(document),
            Self::Nothing | Self::Other(_) => None,
        }
    }
}

/// What a route takes and answers.
#[derive(Debug, Clone, Copy)]
pub struct Bodies {
    /// Of its caller.
    pub takes: Content,
    /// When it was done.
    pub answers: Content,
}

/// The route's line in the table: its method and canonical path; of one that does not name whom it is about, those of its twin that does.
#[must_use]
pub fn line(route: &Route) -> String {
    let (prefixes, named) = match route.prefixes {
        MANAGEMENT_V4 => (MANAGEMENT_PARTICIPANT, PARTICIPANT),
        DSP_CLASSIC => (DSP, NAMED),
        prefixes => (prefixes, ""),
    };
    format!("{} {}{named}{}", route.method.http(), prefixes.first().copied().unwrap_or_default(), route.path)
}

/// What the route takes and answers; `None` when the table has no line for it.
#[must_use]
pub fn bodies(route: &Route) -> Option<Bodies> {
    let wanted = line(route);
    let (_, takes, answers) = BODIES.iter().find(|(line, ..)| *line == wanted)?;
    Some(Bodies { takes: Content::read(takes)?, answers: Content::read(answers)? })
}

/// All lines: route, what it takes, what it answers.
pub const BODIES: &[(&str, &str, &str)] = &[
    ("GET /api/check/health", "-", "Health"),
    ("GET /api/check/startup", "-", "Health"),
    ("GET /api/check/liveness", "-", "Health"),
    ("GET /api/check/readiness", "-", "Health"),
    ("GET /api/v1/version", "-", "Versions"),
    ("GET /metrics", "-", "*text/plain"),
    ("GET /.well-known/did.json", "-", "DidDocument"),
    ("GET /{a}", "-", "DidDocument"),
    ("GET /{a}/did.json", "-", "DidDocument"),
    ("GET /{a}/.well-known/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}", "-", "DidDocument"),
    ("GET /{a}/{b}/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}/.well-known/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}/.well-known/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}/{d}", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}/{d}/did.json", "-", "DidDocument"),
    ("GET /{a}/{b}/{c}/{d}/.well-known/did.json", "-", "DidDocument"),
    ("GET /keys", "-", "JsonWebKeySet"),
    ("GET /statuslist/{issuer}/{list}", "-", "*application/vc+jwt"),
    ("GET /api/dsp/{participant}/.well-known/dspace-version", "-", "VersionResponse"),
    ("POST /api/dsp/{participant}/{profile}/catalog/request", "CatalogRequestMessage", "Catalog"),
    ("GET /api/dsp/{participant}/{profile}/catalog/datasets/{id}", "-", "Dataset"),
    ("POST /api/dsp/{participant}/{profile}/negotiations/request", "ContractRequestMessage", "ContractNegotiationProcess"),
    ("POST /api/dsp/{participant}/{profile}/negotiations/offers", "ContractOfferMessage", "ContractNegotiationProcess"),
    ("GET /api/dsp/{participant}/{profile}/negotiations/{pid}", "-", "ContractNegotiationProcess"),
    ("POST /api/dsp/{participant}/{profile}/negotiations/{pid}/request", "ContractRequestMessage", "ContractNegotiationProcess"),
    ("POST /api/dsp/{participant}/{profile}/negotiations/{pid}/offers", "ContractOfferMessage", "ContractNegotiationProcess"),
    ("POST /api/dsp/{participant}/{profile}/negotiations/{pid}/agreement", "ContractAgreementMessage", "ContractNegotiationProcess"),
    (
        "POST /api/dsp/{participant}/{profile}/negotiations/{pid}/agreement/verification",
        "ContractAgreementVerificationMessage",
        "ContractNegotiationProcess",
    ),
    ("POST /api/dsp/{participant}/{profile}/negotiations/{pid}/events", "ContractNegotiationEventMessage", "ContractNegotiationProcess"),
    (
        "POST /api/dsp/{participant}/{profile}/negotiations/{pid}/termination",
        "ContractNegotiationTerminationMessage",
        "ContractNegotiationProcess",
    ),
    ("POST /api/dsp/{participant}/{profile}/transfers/request", "TransferRequestMessage", "TransferProcessMessage"),
    ("GET /api/dsp/{participant}/{profile}/transfers/{pid}", "-", "TransferProcessMessage"),
    ("POST /api/dsp/{participant}/{profile}/transfers/{pid}/start", "TransferStartMessage", "TransferProcessMessage"),
    ("POST /api/dsp/{participant}/{profile}/transfers/{pid}/suspension", "TransferSuspensionMessage", "TransferProcessMessage"),
    ("POST /api/dsp/{participant}/{profile}/transfers/{pid}/completion", "TransferCompletionMessage", "TransferProcessMessage"),
    ("POST /api/dsp/{participant}/{profile}/transfers/{pid}/termination", "TransferTerminationMessage", "TransferProcessMessage"),
    ("POST /api/credentials/v1/participants/{participant}/presentations/query", "PresentationQueryMessage", "PresentationResponseMessage"),
    ("POST /api/credentials/v1/participants/{participant}/credentials", "CredentialMessage", "-"),
    ("POST /api/credentials/v1/participants/{participant}/offers", "CredentialOfferMessage", "-"),
    ("GET /api/issuance/v1beta/participants/{participant}/metadata", "-", "IssuerMetadata"),
    ("GET /api/issuance/v1beta/participants/{participant}/schemas/{schema}", "-", "*application/schema+json"),
    ("POST /api/issuance/v1beta/participants/{participant}/credentials", "CredentialRequestMessage", "-"),
    ("GET /api/issuance/v1beta/participants/{participant}/requests/{request}", "-", "CredentialRequestStatus"),
    ("GET /api/data/{participant}/{flow}", "-", "*application/octet-stream"),
    ("GET /api/data/{participant}/{flow}/{*path}", "-", "*application/octet-stream"),
    ("GET /tokens/{participant}/{transfer}", "-", "AccessToken"),
    ("GET /health", "-", "Message"),
    ("GET /.well-known/jwks.json", "-", "JsonWebKeySet"),
    ("POST /token", "form TokenRequest", "TokenResponse"),
    ("POST /api/sts/token", "form StsTokenRequest", "StsTokenResponse"),
    ("GET /api/v1/clients", "-", "[Client]"),
    ("POST /api/v1/clients", "ClientDraft", "NewClient"),
    ("GET /api/v1/mappings", "-", "[Mapping]"),
    ("POST /api/v1/mappings", "Mapping", "Mapping"),
    ("PUT /api/v1/mappings/{client}/{context}", "MappingUpdate", "-"),
    ("GET /api/v1/scopes", "-", "[ScopeMapping]"),
    ("POST /api/v1/scopes", "ScopeMapping", "ScopeMapping"),
    ("PUT /api/v1/scopes/{scope}", "ScopeMappingUpdate", "-"),
    ("DELETE /api/v1/mappings/{client}/{context}", "-", "-"),
    ("DELETE /api/v1/mappings/{client}", "-", "-"),
    ("DELETE /api/v1/scopes/{scope}", "-", "-"),
    ("DELETE /api/v1/clients/{client}", "-", "-"),
    ("GET /api/openapi", "-", "[ApiEntry]"),
    ("GET /api/openapi/{api}", "-", "OpenApi"),
    ("GET /api/runtime/nodes", "-", "[Node]"),
    ("POST /api/runtime/nodes/{node}/drain", "-", "-"),
    ("POST /api/runtime/finalize", "-", "CellLevel"),
    ("GET /api/runtime/cells", "-", "[CellOfInstallation]"),
    ("GET /api/runtime/homes", "-", "[Home]"),
    ("POST /api/runtime/homes/{moved}/move", "-", "Move"),
    ("GET /api/runtime/parked", "-", "[ParkedAgent]"),
    ("GET /api/runtime/agents/{kind}/{owner}", "-", "Agent"),
    ("GET /api/runtime/agents/{kind}/{owner}/outbox", "-", "Outbox"),
    ("POST /api/runtime/agents/{kind}/{owner}/unpark", "-", "-"),
    ("POST /api/runtime/agents/{kind}/{owner}/dead-letters/{letter}/redrive", "-", "-"),
    ("DELETE /api/runtime/agents/{kind}/{owner}/dead-letters/{letter}", "-", "-"),
    ("POST /api/mgmt/v5beta/celexpressions", "CelExpressionDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/celexpressions/request", "QuerySpec?", "[CelExpression]"),
    ("POST /api/mgmt/v5beta/celexpressions/test", "CelExpressionTestRequest", "CelExpressionTestResponse"),
    ("GET /api/mgmt/v5beta/celexpressions/{id}", "-", "CelExpression"),
    ("PUT /api/mgmt/v5beta/celexpressions/{id}", "CelExpressionDraft", "-"),
    ("DELETE /api/mgmt/v5beta/celexpressions/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/dcpscopes", "DcpScopeDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/dcpscopes/request", "QuerySpec?", "[DcpScope]"),
    ("PUT /api/mgmt/v5beta/dcpscopes/{id}", "DcpScopeDraft", "-"),
    ("DELETE /api/mgmt/v5beta/dcpscopes/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/dataspaceprofiles", "DataspaceProfileDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/dataspaceprofiles/request", "QuerySpec?", "[DataspaceProfile]"),
    ("GET /api/mgmt/v5beta/dataspaceprofiles/{name}", "-", "DataspaceProfile"),
    ("PUT /api/mgmt/v5beta/dataspaceprofiles", "DataspaceProfileDraft", "-"),
    ("DELETE /api/mgmt/v5beta/dataspaceprofiles/{name}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/assets", "AssetDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/assets/request", "QuerySpec?", "[Asset]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/assets/{id}", "-", "Asset"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/assets", "AssetDraft", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/policydefinitions", "PolicyDefinitionDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/policydefinitions/request", "QuerySpec?", "[PolicyDefinition]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/policydefinitions/{id}", "-", "PolicyDefinition"),
    ("POST /api/mgmt/v5beta/participants/{participant}/policydefinitions/{id}/validate", "-", "PolicyValidationResult"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/policydefinitions/{id}", "PolicyDefinitionDraft", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractdefinitions", "ContractDefinitionDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractdefinitions/request", "QuerySpec?", "[ContractDefinition]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractdefinitions/{id}", "-", "ContractDefinition"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/contractdefinitions", "ContractDefinitionDraft", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/contractdefinitions/{id}", "-", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/policydefinitions/{id}", "-", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/assets/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/secrets", "SecretDraft", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/secrets/request", "QuerySpec?", "[SecretEntry]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/secrets/{id}", "-", "Secret"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/secrets", "SecretDraft", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/secrets/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/catalog/request", "CatalogRequest", "Catalog"),
    ("POST /api/mgmt/v5beta/participants/{participant}/discover/request", "DiscoveryRequest", "[DiscoveryResponse]"),
    ("POST /api/mgmt/v5beta/participants/{participant}/catalog/dataset/request", "DatasetRequest", "Dataset"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations", "ContractRequest", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/offer", "ContractOffer", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/request", "QuerySpec?", "[ContractNegotiation]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}", "-", "ContractNegotiation"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/state", "-", "NegotiationState"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/agreement", "-", "ContractAgreement"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/agree", "Offer?", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/offer", "Offer", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/accept", "Offer?", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/request", "Offer", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}/terminate", "TerminateNegotiation", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/contractnegotiations/{negotiation}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractagreements/request", "QuerySpec?", "[ContractAgreement]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractagreements/{agreement}", "-", "ContractAgreement"),
    ("GET /api/mgmt/v5beta/participants/{participant}/contractagreements/{agreement}/negotiation", "-", "ContractNegotiation"),
    ("POST /api/mgmt/v5beta/participants/{participant}/contractagreements/{agreement}/retire", "RetireAgreement", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/datasets/access", "DatasetAccessRequest", "DatasetAccess"),
    ("POST /api/mgmt/v5beta/participants/{participant}/transferprocesses", "TransferRequest", "IdResponse"),
    ("POST /api/mgmt/v5beta/participants/{participant}/transferprocesses/request", "QuerySpec?", "[TransferProcess]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/transferprocesses/{transfer}", "-", "TransferProcess"),
    ("GET /api/mgmt/v5beta/participants/{participant}/transferprocesses/{transfer}/state", "-", "TransferState"),
    ("GET /api/mgmt/v5beta/participants/{participant}/events", "-", "*text/event-stream"),
    ("POST /api/mgmt/v5beta/participants/{participant}/transferprocesses/{transfer}/suspend", "SuspendTransfer", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/transferprocesses/{transfer}/resume", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/transferprocesses/{transfer}/terminate", "TerminateTransfer", "-"),
    ("GET /api/mgmt/v5beta/participants/{participant}/dataplanes", "-", "[DataPlaneInstance]"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/dataplanes", "DataPlaneRegistrationMessage", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/dataplanes/{dataplane}", "-", "-"),
    ("GET /api/signaling/{participant}/transfers/{transfer}/agreement", "-", "SignaledAgreement"),
    ("POST /api/signaling/{participant}/transfers/{transfer}/dataflow/prepared", "DataFlowStatusMessage", "-"),
    ("POST /api/signaling/{participant}/transfers/{transfer}/dataflow/started", "DataFlowStatusMessage", "-"),
    ("POST /api/signaling/{participant}/transfers/{transfer}/dataflow/completed", "DataFlowStatusMessage", "-"),
    ("POST /api/signaling/{participant}/transfers/{transfer}/dataflow/errored", "DataFlowStatusMessage", "-"),
    ("PUT /participants/{participant}/sources/{name}", "SourceDocument", "SourceDocument"),
    ("GET /participants/{participant}/sources/{name}", "-", "SourceDocument"),
    ("POST /api/v1/{participant}/dataflows/prepare", "DataFlowPrepareMessage", "DataFlowStatusMessage"),
    ("POST /api/v1/{participant}/dataflows/start", "DataFlowStartMessage", "DataFlowStatusMessage"),
    ("GET /api/v1/{participant}/dataflows/{flow}/status", "-", "DataFlowStatus"),
    ("POST /api/v1/{participant}/dataflows/{flow}/suspend", "DataFlowSuspendMessage", "DataFlowStatusMessage"),
    ("POST /api/v1/{participant}/dataflows/{flow}/resume", "DataFlowResumeMessage", "DataFlowStatusMessage"),
    ("POST /api/v1/{participant}/dataflows/{flow}/started", "DataFlowStartedNotificationMessage", "DataFlowStatusMessage"),
    ("POST /api/v1/{participant}/dataflows/{flow}/completed", "DataFlowCompletedMessage?", "DataFlowStatusMessage"),
    ("POST /api/v1/{participant}/dataflows/{flow}/terminate", "DataFlowTerminateMessage", "DataFlowStatusMessage"),
    ("DELETE /participants/{participant}/sources/{name}", "-", "-"),
    ("GET /api/identity/v1beta/keypairs", "-", "[KeyPair]"),
    ("GET /api/identity/v1beta/participants/{participant}/keypairs", "-", "[KeyPair]"),
    ("GET /api/identity/v1beta/participants/{participant}/keypairs/{key}", "-", "KeyPair"),
    ("PUT /api/identity/v1beta/participants/{participant}/keypairs", "KeyDescriptor", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/keypairs/{key}/activate", "-", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/keypairs/{key}/rotate", "KeyDescriptor?", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/keypairs/{key}/revoke", "KeyDescriptor?", "-"),
    ("GET /api/identity/v1beta/dids", "-", "[DidDocument]"),
    ("POST /api/identity/v1beta/participants/{participant}/dids/query", "PlainQuerySpec?", "[DidDocument]"),
    ("POST /api/identity/v1beta/participants/{participant}/dids/state", "DidRequest", "*text/plain"),
    ("POST /api/identity/v1beta/participants/{participant}/dids/unpublish", "DidRequest", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/dids/publish", "DidRequest", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/dids/{did}/endpoints", "Service", "-"),
    ("PATCH /api/identity/v1beta/participants/{participant}/dids/{did}/endpoints", "Service", "-"),
    ("DELETE /api/identity/v1beta/participants/{participant}/dids/{did}/endpoints", "-", "-"),
    ("GET /api/identity/v1beta/credentials", "-", "[VerifiableCredential]"),
    ("GET /api/identity/v1beta/participants/{participant}/credentials", "-", "[VerifiableCredential]"),
    ("GET /api/identity/v1beta/participants/{participant}/credentials/offers", "-", "[ReceivedOffer]"),
    ("GET /api/identity/v1beta/participants/{participant}/credentials/offers/rules", "-", "OfferRules"),
    ("PUT /api/identity/v1beta/participants/{participant}/credentials/offers/rules", "OfferRules", "-"),
    ("GET /api/identity/v1beta/participants/{participant}/credentials/{credential}", "-", "VerifiableCredential"),
    ("POST /api/identity/v1beta/participants/{participant}/credentials", "CredentialManifest", "-"),
    ("PUT /api/identity/v1beta/participants/{participant}/credentials", "CredentialManifest", "-"),
    ("POST /api/identity/v1beta/participants/{participant}/credentials/request", "CredentialRequest", "-"),
    ("GET /api/identity/v1beta/participants/{participant}/credentials/request/{holder_pid}", "-", "HolderRequest"),
    ("DELETE /api/identity/v1beta/participants/{participant}/credentials/{credential}", "-", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/holders", "HolderDraft", "-"),
    ("PUT /api/admin/v1beta/participants/{participant}/holders", "HolderDraft", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/holders/query", "PlainQuerySpec?", "[Holder]"),
    ("GET /api/admin/v1beta/participants/{participant}/holders/{holder}", "-", "Holder"),
    ("POST /api/admin/v1beta/participants/{participant}/attestations", "AttestationDraft", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/attestations/query", "PlainQuerySpec?", "[Attestation]"),
    ("POST /api/admin/v1beta/participants/{participant}/credentialdefinitions", "CredentialDefinitionDraft", "-"),
    ("PUT /api/admin/v1beta/participants/{participant}/credentialdefinitions", "CredentialDefinitionDraft", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/credentialdefinitions/query", "PlainQuerySpec?", "[CredentialDefinition]"),
    ("GET /api/admin/v1beta/participants/{participant}/credentialdefinitions/{definition}", "-", "CredentialDefinition"),
    ("POST /api/admin/v1beta/participants/{participant}/credentials/query", "PlainQuerySpec?", "[IssuedCredential]"),
    ("POST /api/admin/v1beta/participants/{participant}/credentials/offer", "CredentialOffer", "-"),
    ("GET /api/admin/v1beta/participants/{participant}/credentials/{credential}/status", "-", "CredentialStatus"),
    ("POST /api/admin/v1beta/participants/{participant}/credentials/{credential}/suspend", "Reason?", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/credentials/{credential}/resume", "Reason?", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/credentials/{credential}/revoke", "Reason?", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/issuanceprocesses/query", "PlainQuerySpec?", "[IssuanceProcess]"),
    ("GET /api/admin/v1beta/participants/{participant}/issuanceprocesses/{process}", "-", "IssuanceProcess"),
    ("POST /api/admin/v1beta/participants/{participant}/issuanceprocesses/{process}/approve", "-", "-"),
    ("POST /api/admin/v1beta/participants/{participant}/issuanceprocesses/{process}/reject", "Reason?", "-"),
    ("DELETE /api/admin/v1beta/participants/{participant}/credentialdefinitions/{definition}", "-", "-"),
    ("DELETE /api/admin/v1beta/participants/{participant}/attestations/{attestation}", "-", "-"),
    ("DELETE /api/admin/v1beta/participants/{participant}/holders/{holder}", "-", "-"),
    ("GET /api/v1alpha1/cells", "-", "[Cell]"),
    ("POST /api/v1alpha1/cells", "NewCell", "Cell"),
    ("DELETE /api/v1alpha1/cells/{cell}", "-", "-"),
    ("GET /api/v1alpha1/dataspace-profiles", "-", "[FabricDataspaceProfile]"),
    ("POST /api/v1alpha1/dataspace-profiles", "NewDataspaceProfile", "FabricDataspaceProfile"),
    ("GET /api/v1alpha1/dataspace-profiles/{dataspace}", "-", "FabricDataspaceProfile"),
    ("POST /api/v1alpha1/dataspace-profiles/{dataspace}/deployments", "NewDataspaceDeployment", "-"),
    ("DELETE /api/v1alpha1/dataspace-profiles/{dataspace}", "-", "-"),
    ("GET /api/v1alpha1/tenants", "-", "[Tenant]"),
    ("POST /api/v1alpha1/tenants", "NewTenant", "Tenant"),
    ("POST /api/v1alpha1/tenants/query", "FabricQuery", "[Tenant]"),
    ("GET /api/v1alpha1/tenants/{tenant}", "-", "Tenant"),
    ("PATCH /api/v1alpha1/tenants/{tenant}", "TenantPropertiesDiff", "Tenant"),
    ("GET /api/v1alpha1/tenants/{tenant}/participant-profiles", "-", "[ParticipantProfile]"),
    ("POST /api/v1alpha1/tenants/{tenant}/participant-profiles", "NewParticipantProfileDeployment", "ParticipantProfile"),
    ("GET /api/v1alpha1/tenants/{tenant}/participant-profiles/{profile}", "-", "ParticipantProfile"),
    ("POST /api/v1alpha1/participant-profiles/query", "FabricQuery", "[ParticipantProfile]"),
    ("DELETE /api/v1alpha1/tenants/{tenant}", "-", "-"),
    ("GET /api/v1alpha1/activity-definitions", "-", "[ActivityDefinition]"),
    ("POST /api/v1alpha1/activity-definitions", "ActivityDefinitionDraft", "-"),
    ("DELETE /api/v1alpha1/activity-definitions/{type}", "-", "-"),
    ("GET /api/v1alpha1/orchestration-definitions", "-", "[OrchestrationDefinition]"),
    ("POST /api/v1alpha1/orchestration-definitions", "OrchestrationTemplateDraft", "OrchestrationTemplateRef"),
    ("GET /api/v1alpha1/orchestration-definitions/{template}", "-", "[OrchestrationDefinition]"),
    ("POST /api/v1alpha1/orchestrations", "OrchestrationManifest", "Orchestration"),
    ("POST /api/v1alpha1/orchestrations/query", "FabricQuery", "[OrchestrationEntry]"),
    ("GET /api/v1alpha1/orchestrations/{orchestration}", "-", "Orchestration"),
    ("DELETE /api/v1alpha1/orchestration-definitions/{template}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants", "ParticipantContextDraft", "IdResponse"),
    ("GET /api/mgmt/v5beta/participants", "-", "[ParticipantContext]"),
    ("GET /api/mgmt/v5beta/participants/{participant}", "-", "ParticipantContext"),
    ("PUT /api/mgmt/v5beta/participants/{participant}", "ParticipantContextDraft", "-"),
    ("GET /api/mgmt/v5beta/participants/{participant}/config", "-", "ParticipantContextConfig"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/config", "ParticipantContextConfigDraft", "-"),
    ("PATCH /api/mgmt/v5beta/participants/{participant}/config", "ParticipantContextConfigDraft", "-"),
    ("GET /api/mgmt/v5beta/participants/{participant}/profiles", "-", "[DataspaceProfile]"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/profiles", "AssociateDataspaceProfile", "-"),
    ("GET /api/identity/v1beta/participants", "-", "[Participant]"),
    ("POST /api/identity/v1beta/participants", "ParticipantManifest", "ParticipantSecrets"),
    ("GET /api/identity/v1beta/participants/{participant}", "-", "Participant"),
    ("POST /api/identity/v1beta/participants/{participant}/state", "-", "-"),
    ("PUT /api/identity/v1beta/participants/{participant}/scopes", "Scopes", "-"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}", "-", "-"),
    ("DELETE /api/identity/v1beta/participants/{participant}", "-", "-"),
    ("DELETE /api/v1alpha1/tenants/{tenant}/participant-profiles/{profile}", "-", "ParticipantProfile"),
    ("POST /api/mgmt/v5beta/targetnodes", "TargetNode", "IdResponse"),
    ("PUT /api/mgmt/v5beta/targetnodes", "TargetNode", "-"),
    ("POST /api/mgmt/v5beta/targetnodes/request", "QuerySpec?", "[TargetNode]"),
    ("GET /api/mgmt/v5beta/targetnodes/{id}", "-", "TargetNode"),
    ("DELETE /api/mgmt/v5beta/targetnodes/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/targetnodes", "TargetNode", "IdResponse"),
    ("PUT /api/mgmt/v5beta/participants/{participant}/targetnodes", "TargetNode", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/targetnodes/request", "QuerySpec?", "[TargetNode]"),
    ("GET /api/mgmt/v5beta/participants/{participant}/targetnodes/{id}", "-", "TargetNode"),
    ("DELETE /api/mgmt/v5beta/participants/{participant}/targetnodes/{id}", "-", "-"),
    ("POST /api/mgmt/v5beta/participants/{participant}/catalogs/request", "QuerySpec?", "[SeenCatalog]"),
    ("GET /api/dsp/.well-known/dspace-version", "-", "VersionResponse"),
];
