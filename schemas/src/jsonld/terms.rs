//! The terms of the vocabularies that are read: which IRI a term has, and the shape of its value in the compact form.
//!
//! Source: the contexts of DSP 2025-1 (with its ODRL profile), of DCP 1.0 and of the Eclipse connectors. A test holds the tables against the former two.

use crate::{odrl::ODRL_NAMESPACE, query_spec::EDC_NAMESPACE};

/// A vocabulary whose terms are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// DSP 2025-1.
    Dspace,
    /// ODRL 2.2.
    Odrl,
    /// DCAT 3.
    Dcat,
    /// DCMI terms.
    Dct,
    /// XML Schema datatypes.
    Xsd,
    /// The Eclipse connectors.
    Edc,
    /// DCP 1.0.
    Dcp,
    /// Verifiable credentials.
    Cred,
}

impl Vocabulary {
    /// The usual prefix.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Dspace => "dspace",
            Self::Odrl => "odrl",
            Self::Dcat => "dcat",
            Self::Dct => "dct",
            Self::Xsd => "xsd",
            Self::Edc => "edc",
            Self::Dcp => "dcp",
            Self::Cred => "cred",
        }
    }

    /// What every IRI of it begins with.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Dspace => "https://w3id.org/dspace/2025/1/",
            Self::Odrl => ODRL_NAMESPACE,
            Self::Dcat => "http://www.w3.org/ns/dcat#",
            Self::Dct => "http://purl.org/dc/terms/",
            Self::Xsd => "http://www.w3.org/2001/XMLSchema#",
            Self::Edc => EDC_NAMESPACE,
            Self::Dcp => "https://w3id.org/dspace-dcp/v1.0/",
            Self::Cred => "https://www.w3.org/2018/credentials#",
        }
    }
}

/// What a term's value is in the compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The text of an identifier (`"@type": "@id"`).
    Id,
    /// The text of a value's term, or its IRI (`"@type": "@vocab"`).
    Name,
    /// A literal.
    Literal,
    /// An object.
    Node,
    /// A literal, an identifier, an object, or a list of these.
    Any,
    /// JSON that is no JSON-LD (`"@type": "@json"`).
    Json,
}

/// A property's term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Whose it is.
    pub vocabulary: Vocabulary,
    /// Its name there, which is the term too.
    pub name: &'static str,
    /// Its value.
    pub shape: Shape,
    /// Whether its value is a list, also of one (`"@container": "@set"`).
    pub many: bool,
}

const fn one(vocabulary: Vocabulary, name: &'static str, shape: Shape) -> Term {
    Term { vocabulary, name, shape, many: false }
}

const fn many(vocabulary: Vocabulary, name: &'static str, shape: Shape) -> Term {
    Term { vocabulary, name, shape, many: true }
}

use Shape::{Any, Id, Json, Literal, Name, Node};
use Vocabulary::{Cred, Dcat, Dcp, Dct, Dspace, Edc, Odrl};

/// Every property that is read of DSP. Of two with one name, the first is what the name means under the context of DSP 2025-1.
pub(super) static DSP_TERMS: [Term; 52] = [
    // Messages, processes and errors.
    one(Dspace, "providerPid", Id),
    one(Dspace, "consumerPid", Id),
    one(Dspace, "offer", Node),
    one(Dspace, "agreement", Node),
    one(Dspace, "callbackAddress", Literal),
    one(Dspace, "timestamp", Literal),
    one(Dspace, "eventType", Name),
    one(Dspace, "state", Name),
    one(Dspace, "code", Literal),
    many(Dspace, "reason", Any),
    many(Dspace, "filter", Node),
    one(Dspace, "agreementId", Id),
    one(Dct, "format", Name),
    // Data addresses.
    one(Dspace, "dataAddress", Node),
    one(Dspace, "endpointType", Name),
    many(Dspace, "endpointProperties", Node),
    one(Dspace, "endpoint", Literal),
    one(Dspace, "name", Literal),
    one(Dspace, "value", Literal),
    // Policies.
    one(Odrl, "profile", Id),
    one(Odrl, "target", Id),
    one(Odrl, "assigner", Id),
    one(Odrl, "assignee", Id),
    many(Odrl, "permission", Node),
    many(Odrl, "prohibition", Node),
    many(Odrl, "obligation", Node),
    many(Odrl, "duty", Node),
    many(Odrl, "constraint", Node),
    one(Odrl, "action", Name),
    one(Odrl, "leftOperand", Name),
    one(Odrl, "operator", Name),
    one(Odrl, "rightOperand", Any),
    one(Odrl, "and", Node),
    one(Odrl, "andSequence", Node),
    one(Odrl, "or", Node),
    one(Odrl, "xone", Node),
    // Catalogs.
    one(Dspace, "participantId", Id),
    many(Dcat, "service", Node),
    many(Dcat, "catalog", Node),
    many(Dcat, "dataset", Node),
    many(Dcat, "distribution", Node),
    one(Dcat, "accessService", Any),
    one(Dcat, "endpointDescription", Any),
    one(Dcat, "endpointURL", Any),
    many(Odrl, "hasPolicy", Node),
    // Queries in filters.
    many(Edc, "filterExpression", Node),
    one(Edc, "offset", Literal),
    one(Edc, "limit", Literal),
    one(Edc, "sortField", Literal),
    one(Edc, "operandLeft", Literal),
    one(Edc, "operator", Literal),
    one(Edc, "operandRight", Any),
];

/// Every type, state and other name that stands as a value in DSP. Of two with one name, the first is what it means under the context of DSP 2025-1.
pub(super) static DSP_VALUES: [(Vocabulary, &str); 57] = [
    (Dspace, "CatalogRequestMessage"),
    (Dspace, "CatalogError"),
    (Dspace, "DatasetRequestMessage"),
    (Dspace, "ContractRequestMessage"),
    (Dspace, "ContractOfferMessage"),
    (Dspace, "ContractAgreementMessage"),
    (Dspace, "ContractAgreementVerificationMessage"),
    (Dspace, "ContractNegotiationEventMessage"),
    (Dspace, "ContractNegotiationTerminationMessage"),
    (Dspace, "ContractNegotiation"),
    (Dspace, "ContractNegotiationError"),
    (Dspace, "TransferRequestMessage"),
    (Dspace, "TransferStartMessage"),
    (Dspace, "TransferCompletionMessage"),
    (Dspace, "TransferTerminationMessage"),
    (Dspace, "TransferSuspensionMessage"),
    (Dspace, "TransferProcess"),
    (Dspace, "TransferError"),
    (Dspace, "DataAddress"),
    (Dspace, "EndpointProperty"),
    (Dspace, "ACCEPTED"),
    (Dspace, "FINALIZED"),
    (Dspace, "REQUESTED"),
    (Dspace, "STARTED"),
    (Dspace, "COMPLETED"),
    (Dspace, "SUSPENDED"),
    (Dspace, "TERMINATED"),
    (Dspace, "OFFERED"),
    (Dspace, "AGREED"),
    (Dspace, "VERIFIED"),
    (Dcat, "Catalog"),
    (Dcat, "Dataset"),
    (Dcat, "DataService"),
    (Dcat, "Distribution"),
    (Odrl, "Agreement"),
    (Odrl, "Offer"),
    (Odrl, "Set"),
    (Odrl, "Permission"),
    (Odrl, "Prohibition"),
    (Odrl, "Duty"),
    (Odrl, "Constraint"),
    (Odrl, "Asset"),
    (Odrl, "use"),
    (Odrl, "eq"),
    (Odrl, "neq"),
    (Odrl, "gt"),
    (Odrl, "gteq"),
    (Odrl, "lt"),
    (Odrl, "lteq"),
    (Odrl, "isA"),
    (Odrl, "hasPart"),
    (Odrl, "isPartOf"),
    (Odrl, "isAllOf"),
    (Odrl, "isAnyOf"),
    (Odrl, "isNoneOf"),
    (Edc, "QuerySpec"),
    (Edc, "Criterion"),
];

/// Every property that is read of DCP.
pub(super) static DCP_TERMS: [Term; 16] = [
    many(Dcp, "scope", Literal),
    one(Dcp, "presentationDefinition", Json),
    many(Dcp, "presentation", Json),
    one(Dcp, "presentationSubmission", Json),
    one(Dcp, "holderPid", Id),
    one(Dcp, "issuerPid", Id),
    one(Dcp, "status", Name),
    one(Dcp, "rejectionReason", Literal),
    many(Dcp, "credentials", Json),
    one(Dcp, "payload", Literal),
    one(Cred, "issuer", Id),
    // Credential objects.
    one(Dcp, "credentialType", Literal),
    one(Dcp, "offerReason", Literal),
    many(Dcp, "bindingMethods", Literal),
    one(Dcp, "profile", Literal),
    one(Dcp, "issuancePolicy", Json),
];

/// Every type and status of the messages of DCP.
pub(super) static DCP_VALUES: [(Vocabulary, &str); 11] = [
    (Dcp, "PresentationQueryMessage"),
    (Dcp, "PresentationResponseMessage"),
    (Dcp, "CredentialRequestMessage"),
    (Dcp, "CredentialMessage"),
    (Dcp, "CredentialOfferMessage"),
    (Dcp, "CredentialObject"),
    (Dcp, "CredentialContainer"),
    (Dcp, "CredentialStatus"),
    (Dcp, "RECEIVED"),
    (Dcp, "ISSUED"),
    (Dcp, "REJECTED"),
];

impl Term {
    /// Its IRI.
    #[must_use]
    pub fn iri(&self) -> String {
        format!("{}{}", self.vocabulary.namespace(), self.name)
    }
}
