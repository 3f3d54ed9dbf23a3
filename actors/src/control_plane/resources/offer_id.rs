//! Offer ids: opaque to counterparties, stable while the contract definition lives, and not to be guessed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use cellspace_schemas::{AssetId, ContractDefinitionId, OfferId};
use uuid::Uuid;

/// Writes the id of a definition's offer of an asset: definition, asset and the definition's key, each in base64.
pub(in crate::control_plane) fn write_offer_id(text: &mut String, definition: &ContractDefinitionId, asset: &AssetId, key: Uuid) {
    BASE64.encode_string(definition.as_str(), text);
    text.push(':');
    BASE64.encode_string(asset.as_str(), text);
    text.push(':');
    BASE64.encode_string(key.as_bytes(), text);
}

/// As [`write_offer_id`], on its own.
#[cfg(test)]
pub(in crate::control_plane) fn offer_id(definition: &ContractDefinitionId, asset: &AssetId, key: Uuid) -> String {
    let mut id = String::new();
    write_offer_id(&mut id, definition, asset, key);
    id
}

/// The parts of an offer id of ours; `None` for any other text.
pub(in crate::control_plane) fn parts(id: &OfferId) -> Option<(ContractDefinitionId, AssetId, Uuid)> {
    let mut parts = id.as_str().split(':');
    let mut next = || BASE64.decode(parts.next()?).ok();
    let (definition, asset, key) = (next()?, next()?, next()?);
    if parts.next().is_some() {
        return None;
    }
    let definition = ContractDefinitionId::new(String::from_utf8(definition).ok()?).ok()?;
    let asset = AssetId::new(String::from_utf8(asset).ok()?).ok()?;
    Some((definition, asset, Uuid::from_slice(&key).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let (definition, asset, key) =
            (ContractDefinitionId::new("d:1/ü".repeat(30)).unwrap(), AssetId::new("a".repeat(256)).unwrap(), Uuid::from_u128(7));
        let id = OfferId::new(offer_id(&definition, &asset, key)).unwrap();
        assert_eq!(parts(&id), Some((definition, asset, key)));
        for other in ["x", "a:b:c", "YQ:YQ:AAAA", "YQ:YQ", "::", "YQ:YQ:AAAAAAAAAAAAAAAAAAAAAA:YQ"] {
            assert_eq!(parts(&OfferId::new(other).unwrap()), None, "{other}");
        }
    }
}
