//! The targets. None may panic, whatever the bytes are; most assert more: what was read is written and read again as the same, bounds hold, and
//! nothing that was not signed passes for signed.

pub mod answers;
pub mod bodies;
pub mod dids;
pub mod expressions;
pub mod messages;
pub mod requests;
pub mod rows;
pub mod schemas;
pub mod signed;
pub mod texts;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt::Debug;

/// A target: it takes any bytes.
pub type Target = fn(&[u8]);

/// Every target under the name of its binary and of its folder of seeds.
pub const ALL: [(&str, Target); 23] = [
    ("admin_bodies", bodies::admin),
    ("catalog_answers", messages::catalog_answers),
    ("credentials", signed::credentials),
    ("data_planes", bodies::data_planes),
    ("dcp_messages", messages::dcp),
    ("did_documents", dids::documents),
    ("dids", dids::texts),
    ("dsp_messages", messages::dsp),
    ("expressions", expressions::evaluate),
    ("fabric_bodies", bodies::fabric),
    ("json_ld", messages::json_ld),
    ("management_bodies", bodies::management),
    ("paths", requests::paths),
    ("peer_answers", answers::answers),
    ("policies", bodies::policies),
    ("presentations", signed::presentations),
    ("queries", bodies::queries),
    ("requests", requests::requests),
    ("schemas", schemas::schemas),
    ("signed_texts", signed::texts),
    ("status_lists", signed::status_lists),
    ("stored_rows", rows::stored),
    ("texts", texts::texts),
];

/// Whether the value is read again as what it is, as a row of a store would be.
fn kept<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let row = serde_json::to_vec(value).expect("what was read can be written");
    match serde_json::from_slice::<T>(&row) {
        Ok(again) => assert_eq!(&again, value, "another value is read again"),
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&row)),
    }
}

/// Reads JSON from outside as the type; what is accepted is kept.
fn document<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = cellspace_schemas::json::from_slice(data).ok()?;
    kept(&value);
    Some(value)
}

/// Any JSON within the bounds.
fn json(data: &[u8]) -> Option<Value> {
    cellspace_schemas::json::from_slice(data).ok()
}
