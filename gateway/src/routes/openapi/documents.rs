//! Documents of the APIs by their names: an example of each, and its reader where the platform takes it.

use super::{
    readers::READERS,
    schema::{Reads, schema},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::LazyLock};

/// Every document with all that it may have. Names of optional members of one that is only answered end with a question mark. A test reads the file.
static EXAMPLES: LazyLock<BTreeMap<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());

/// A document that the APIs take or answer.
#[derive(Debug, Clone, Copy)]
pub struct Document {
    /// Its name in the documentation.
    pub name: &'static str,
    /// One of them.
    pub example: &'static Value,
    /// Its reader; `None` for what is only answered.
    pub reads: Option<Reads>,
}

impl Document {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        EXAMPLES.get_key_value(name).map(Self::of)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        EXAMPLES.iter().map(Self::of)
    }

    fn of((name, example): (&'static String, &'static Value)) -> Self {
        let reads = READERS.iter().find(|(read, _)| read == name).map(|(_, reads)| *reads);
        Self { name, example, reads }
    }

    /// What is true of all of them.
    #[must_use]
    pub fn schema(&self) -> Value {
        schema(self.example, self.reads)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::schema::{schema, shown},
        *,
    };
    use boon::{Compiler, Schemas};

    /// Members of what the platform reads that may be anything: free properties and what stands in them, and types that say what is clear without them.
    const FREE: [&str; 40] = [
        "ActivityDefinitionDraft.inputSchema.type",
        "ActivityDefinitionDraft.outputSchema.type",
        "AssetDraft.dataplaneMetadata.properties.source",
        "AssetDraft.privateProperties.permission",
        "AssetDraft.properties.description",
        "AttestationDraft.configuration.key",
        "CatalogRequest.querySpec.@type",
        "CatalogRequest.querySpec.limit",
        "CatalogRequestMessage.filter",
        "CatalogRequestMessage.filter[]",
        "CatalogRequestMessage.filter[].@type",
        "CatalogRequestMessage.filter[].limit",
        "CelExpressionTestRequest.params.agent",
        "CelExpressionTestRequest.params.agent.id",
        "ContractDefinitionDraft.privateProperties.note",
        "ContractNegotiationTerminationMessage.reason[]",
        "CredentialDefinitionDraft.rules[].configuration.value",
        "DataFlowPrepareMessage.metadata.source",
        "DataFlowStartMessage.metadata.source",
        "DatasetAccessRequest.dataplaneMetadata.properties.source",
        "HolderDraft.properties.membershipType",
        "NewCell.properties.region",
        "NewDataspaceProfile.properties.name",
        "NewParticipantProfileDeployment.properties.tier",
        "NewParticipantProfileDeployment.vpaProperties.cfm.issuer.membershipType",
        "NewTenant.properties.name",
        "OrchestrationManifest.payload.cfm.participant.id",
        "OrchestrationTemplateDraft.schema.type",
        "ParticipantContextDraft.properties.tier",
        "ParticipantManifest.additionalProperties.tier",
        "ParticipantManifest.serviceEndpoints[].serviceEndpoint",
        "ParticipantManifest.serviceEndpoints[].type",
        "PolicyDefinitionDraft.privateProperties.note",
        "Service.serviceEndpoint",
        "Service.type",
        "TenantPropertiesDiff.properties.location",
        "TransferRequest.dataplaneMetadata.properties.source",
        "TransferRequest.privateProperties.order",
        "TransferSuspensionMessage.reason[]",
        "TransferTerminationMessage.reason[]",
    ];

    /// Places of a schema at which anything may stand.
    fn anything(schema: &Value, place: &str, found: &mut Vec<String>) {
        if schema.get("type").is_none() {
            found.push(place.to_owned());
        }
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            anything(below, &format!("{place}.{name}"), found);
        }
        if let Some(items) = schema.get("items") {
            anything(items, &format!("{place}[]"), found);
        }
    }

    fn check(document: &Document, free: &mut Vec<String>) -> Result<(), String> {
        let (example, told) = (shown(document.example), document.schema());
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("mem:///document", told.clone()).map_err(|e| e.to_string())?;
        let index = compiler.compile("mem:///document", &mut schemas).map_err(|e| format!("{e}: {told}"))?;
        schemas.validate(&example, index).map_err(|e| e.to_string())?;
        match document.reads {
            Some(reads) if !reads(&example) => return Err("is not read".to_owned()),
            Some(_) if example != *document.example => return Err("marks what its reader says".to_owned()),
            Some(_) => anything(&told, document.name, free),
            None => {}
        }
        Ok(())
    }

    /// Each document is what its reader takes, and has nothing that nobody reads.
    #[test]
    fn documents_are_what_their_readers_take() {
        let mut free = Vec::new();
        let checked = Document::all().map(|document| check(&document, &mut free).map_err(|why| format!("{}: {why}", document.name)));
        let wrong: Vec<String> = checked.filter_map(Result::err).collect();
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(free, FREE);
        let unknown: Vec<&str> = READERS.iter().map(|(name, _)| *name).filter(|name| Document::named(name).is_none()).collect();
        assert_eq!(unknown, Vec::<&str>::new());
        // A reader that asks for more than the example has is seen at once.
        let required = schema(&serde_json::json!({"did": "did:web:x"}), Document::named("DidRequest").unwrap().reads);
        assert_eq!(required["required"], serde_json::json!(["did"]));
    }
}
