//! The terms of the vocabularies that are read: which IRI a term has, and the shape of its value in the compact form.
//!
//! Source: the contexts of DSP 2025-1 (with its ODRL profile) and of the Eclipse connectors. A test holds the tables against the former.

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
}

impl Vocabulary {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Dspace, Self::Odrl, Self::Dcat, Self::Dct, Self::Xsd, Self::Edc, Self::Dcp];

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
        }
    }

    /// The vocabulary with this usual prefix.
    #[must_use]
    pub fn of_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vocabulary| vocabulary.prefix() == prefix)
    }

    /// The vocabulary of an IRI, and its name there.
    #[must_use]
    pub fn of_iri(iri: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|vocabulary| iri.strip_prefix(vocabulary.namespace()).map(|name| (vocabulary, name)))
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

use Shape::{Any, Id, Literal, Name, Node};
use Vocabulary::{Dcat, Dct, Dspace, Edc, Odrl};

/// Every property that is read. Of two with one name, the first is what the name means under the context of DSP 2025-1.
pub const TERMS: [Term; 49] = [
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

/// Every type, state and other name that stands as a value. Of two with one name, the first is what it means under the context of DSP 2025-1.
pub const VALUES: [(Vocabulary, &str); 57] = [
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

impl Term {
    /// Its IRI.
    #[must_use]
    pub fn iri(&self) -> String {
        format!("{}{}", self.vocabulary.namespace(), self.name)
    }

    /// The property with this name in the vocabulary.
    pub(super) fn of(vocabulary: Vocabulary, name: &str) -> Option<&'static Self> {
        TERMS.iter().find(|term| term.vocabulary == vocabulary && term.name == name)
    }

    /// Every property with this name.
    pub(super) fn named(name: &str) -> impl Iterator<Item = &'static Self> {
        TERMS.iter().filter(move |term| term.name == name)
    }
}

/// The vocabularies in which the name stands for a property or a value.
pub(super) fn vocabularies_of(name: &str) -> impl Iterator<Item = Vocabulary> {
    let values = VALUES.iter().filter(move |(_, value)| *value == name).map(|(vocabulary, _)| *vocabulary);
    Term::named(name).map(|term| term.vocabulary).chain(values)
}
