//! The provider offers two assets over a real source, under three offers.

use crate::{client::Client, tenants::Participant};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;

/// The small data set.
pub const DATA_SET: &str = "footprints";
/// The large file.
pub const FILE: &str = "model";

/// `(offer, asset, access policy, contract policy)`.
const OFFERS: [(&str, &str, &str, &str); 3] = [
    ("open", DATA_SET, "MembershipCredential", "MembershipCredential"),
    ("restricted", FILE, "MembershipCredential", "ManufacturerCredential"),
    ("hidden", DATA_SET, "ManufacturerCredential", "ManufacturerCredential"),
];

/// Plays the provider's part.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn offer(client: &mut Client, provider: &Participant, source: &str) -> Result<()> {
    client.reporter.chapter("Provider: two assets, three offers");
    let who = &provider.caller;
    for (id, title, path) in
        [(DATA_SET, "product carbon footprints", "/data/footprints.json"), (FILE, "simulation model", "/data/model.bin")]
    {
        let named = format!("/participants/{}/sources/{id}", provider.context);
        let body = json!({ "baseUrl": format!("{source}{path}"), "methods": ["GET"] });
        client.step(who, &format!("names the source of {id}"), Method::PUT, &named, Some(body), 200).await?;
        let asset = Client::typed(
            "Asset",
            json!({
                "@id": id, "properties": { "description": title },
                "dataplaneMetadata": { "@type": "DataplaneMetadata", "profiles": ["HttpData-PULL"], "properties": { "source": id } },
            }),
        );
        client.step(who, &format!("creates asset {id}"), Method::POST, &provider.path("assets"), Some(asset), 200).await?;
    }
    for kind in ["MembershipCredential", "ManufacturerCredential"] {
        let constraint = json!({ "leftOperand": kind, "operator": "eq", "rightOperand": "active" });
        let policy = json!({ "@type": "Set", "permission": [{ "action": "use", "constraint": [constraint] }] });
        let definition = Client::typed("PolicyDefinition", json!({ "@id": format!("requires-{kind}"), "policy": policy }));
        client
            .step(who, &format!("creates the policy on {kind}"), Method::POST, &provider.path("policydefinitions"), Some(definition), 200)
            .await?;
    }
    for (offer, asset, access, contract) in OFFERS {
        let definition = Client::typed(
            "ContractDefinition",
            json!({
                "@id": offer, "accessPolicyId": format!("requires-{access}"), "contractPolicyId": format!("requires-{contract}"),
                "assetsSelector": [{ "@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": asset }],
            }),
        );
        client
            .step(who, &format!("offers {asset} as {offer}"), Method::POST, &provider.path("contractdefinitions"), Some(definition), 200)
            .await?;
    }
    Ok(())
}
