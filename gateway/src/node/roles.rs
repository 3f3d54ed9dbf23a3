//! What a process of a cell does.

use std::{fmt, str::FromStr};

/// Roles of a process. Any of them may be left to others, so long as it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It has the public and the admin listener. Without the runtime, all that comes in there goes on to others.
    pub gateway: bool,
    /// It serves slots: it is a member of the cell, and has agents.
    pub runtime: bool,
    /// It carries out provisioning. Of several, one reads each topic, and the others stand by.
    pub fabric: bool,
}

const GATEWAY: &str = "gateway";
const RUNTIME: &str = "runtime";
const FABRIC: &str = "fabric";

impl Roles {
    /// All of them.
    pub const ALL: Self = Self { gateway: true, runtime: true, fabric: true };

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [(self.gateway, GATEWAY), (self.runtime, RUNTIME), (self.fabric, FABRIC)]
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

/// Names, separated by commas.
impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Self { gateway: false, runtime: false, fabric: false };
        for name in text.split(',') {
            let role = match name.trim() {
                GATEWAY => &mut roles.gateway,
                RUNTIME => &mut roles.runtime,
                FABRIC => &mut roles.fabric,
                other => return Err(format!("{other:?} is no role: expected some of gateway, runtime and fabric, separated by commas")),
            };
            if std::mem::replace(role, true) {
                return Err(format!("{} is named twice", name.trim()));
            }
        }
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_names() {
        for text in ["gateway", "runtime", "gateway,runtime,fabric", "runtime,fabric"] {
            assert_eq!(text.parse::<Roles>().unwrap().to_string(), text);
        }
        assert_eq!("fabric, gateway".parse::<Roles>().unwrap().to_string(), "gateway,fabric");
        for bad in ["", "gateway,", "gateways", "gateway,gateway", "gateway runtime"] {
            assert!(bad.parse::<Roles>().is_err(), "{bad}");
        }
    }
}
