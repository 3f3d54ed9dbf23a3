//! Which process of a cell this is, and under which terms it is part of it.

#[cfg(not(all(feature = "scylla", feature = "kafka")))]
use super::{NodeConfig, Seat, Shared};
use super::{Roles, StartError};
use cellspace_cluster::{NodeName, link::PeerName, membership::Terms};
use cellspace_storage::{CellName, slot::SLOTS};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

const SHORTEST_RENEWAL: Duration = Duration::from_millis(100);
/// An operator who asks for the nodes waits for three of them.
const LONGEST_RENEWAL: Duration = Duration::from_secs(10);
pub(super) const LONGEST_LEASE: Duration = Terms::LONGEST_LEASE;
/// Nobody looks at the rows more often than a few times a renewal; steps without a pause would only be in each other's way.
const SHORTEST_PACE: Duration = Duration::from_millis(10);
const LONGEST_PACE: Duration = Duration::from_secs(60);

/// What is chosen of one process of a cell, beside its [`NodeConfig`].
#[derive(Debug, Clone)]
pub struct CellConfig {
    /// Its name, its own in the cell and the same at each start.
    pub node: NodeName,
    /// What it does.
    pub roles: Roles,
    /// Where it listens to its peers.
    pub listen: SocketAddr,
    /// Where they reach it (`host:port`), when that is not where it listens.
    pub endpoint: Option<String>,
    /// Directory with `ca.pem`, and `NAME.pem` and `NAME-key.pem` of this process.
    pub certificates: PathBuf,
    /// The same for all processes of the cell.
    pub terms: Terms,
    /// The other cells of the installation, with their keyspaces in the same database.
    pub others: Vec<(CellName, String)>,
    /// The cell that has all owners which were not moved to another one; this one when `None`.
    pub main: Option<CellName>,
}

impl CellConfig {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`StartError::Cell`] names the setting, and its bounds.
    pub fn check(&self) -> Result<(), StartError> {
        let bad = |key, reason: String| Err(StartError::Cell { key, reason });
        let Roles { runtime, fabric, .. } = self.roles;
        if fabric && !runtime {
            return bad("roles", "fabric goes with runtime".to_owned());
        }
        if self.listen.ip().is_unspecified() && self.endpoint.is_none() {
            return bad("link-endpoint", format!("needed, since nobody is reached at {}", self.listen.ip()));
        }
        if let Some(endpoint) = &self.endpoint
            && !endpoint.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        {
            return bad("link-endpoint", format!("{endpoint:?} is not HOST:PORT"));
        }
        let Terms { renew, lease, margin, pace, step, .. } = self.terms;
        if renew < SHORTEST_RENEWAL || renew * 2 > lease {
            return bad("terms-renew", format!("{renew:?} is not from {SHORTEST_RENEWAL:?} to half of terms-lease ({lease:?})"));
        }
        if renew > LONGEST_RENEWAL {
            return bad("terms-renew", format!("{renew:?} is more than {LONGEST_RENEWAL:?}"));
        }
        if lease > LONGEST_LEASE {
            return bad("terms-lease", format!("{lease:?} is more than {LONGEST_LEASE:?}"));
        }
        if margin < lease / 8 || margin > lease {
            return bad("terms-margin", format!("{margin:?} is not from an eighth of terms-lease ({lease:?}) to all of it"));
        }
        if !(SHORTEST_PACE..=LONGEST_PACE).contains(&pace) {
            return bad("terms-pace", format!("{pace:?} is not from {SHORTEST_PACE:?} to {LONGEST_PACE:?}"));
        }
        if step == 0 || step > SLOTS {
            return bad("terms-step", format!("{step} is not from 1 to {SLOTS}"));
        }
        for (n, (other, keyspace)) in self.others.iter().enumerate() {
            if PeerName::new(&other.0, &self.node).is_err() || keyspace.is_empty() {
                return bad("other-cells", format!("\"{other}={keyspace}\" is not CELL=KEYSPACE"));
            }
            if self.others.iter().take(n).any(|(before, at)| before == other || at == keyspace) {
                return bad("other-cells", format!("{other} or its keyspace is there twice"));
            }
        }
        if let Some(main) = &self.main
            && !self.others.iter().any(|(other, _)| other == main)
        {
            return bad("main-cell", format!("{main} is none of other-cells; the main cell itself does not name one"));
        }
        Ok(())
    }

    /// This build has not got what several processes share.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(all(feature = "scylla", feature = "kafka")))]
    pub(super) async fn open(self, _: &NodeConfig) -> Result<(Shared, Seat), StartError> {
        self.check()?;
        Err(if cfg!(feature = "scylla") {
            cellspace_storage::KafkaError::NotBuilt.into()
        } else {
            cellspace_storage::ScyllaError::NotBuilt.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut CellConfig)) -> Result<(), String> {
        let mut config = CellConfig {
            node: NodeName("a".to_owned()),
            roles: Roles::ALL,
            listen: "127.0.0.1:1".parse().unwrap(),
            endpoint: None,
            certificates: PathBuf::from("certs"),
            terms: Terms::default(),
            others: Vec::new(),
            main: None,
        };
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let ms = Duration::from_millis;
        config(|_| ()).unwrap();
        config(|c| (c.listen, c.endpoint) = ("0.0.0.0:1".parse().unwrap(), Some("host:2".to_owned()))).unwrap();
        config(|c| c.roles = "gateway".parse().unwrap()).unwrap();
        let cell = |name: &str| CellName(name.to_owned());
        config(|c| (c.others, c.main) = (vec![(cell("b"), "k".to_owned())], Some(cell("b")))).unwrap();
        let error = config(|c| c.others = vec![(cell("b"), "k".to_owned()), (cell("c"), "k".to_owned())]).unwrap_err();
        assert!(error.starts_with("other-cells: "), "{error}");
        let all: [(&str, fn(&mut CellConfig)); 13] = [
            ("other-cells", |c| c.others = vec![(CellName("B".to_owned()), "k".to_owned())]),
            ("main-cell", |c| c.main = Some(CellName("b".to_owned()))),
            ("roles", |c| c.roles = "gateway,fabric".parse().unwrap()),
            ("link-endpoint", |c| c.listen = "0.0.0.0:1".parse().unwrap()),
            ("link-endpoint", |c| c.endpoint = Some("host".to_owned())),
            ("link-endpoint", |c| c.endpoint = Some("host:0".to_owned())),
            ("terms-renew", |c| c.terms.renew = Duration::from_millis(1_001)),
            ("terms-renew", |c| {
                (c.terms.renew, c.terms.lease, c.terms.margin) =
                    (Duration::from_millis(10_001), Duration::from_secs(30), Duration::from_secs(10));
            }),
            ("terms-lease", |c| (c.terms.lease, c.terms.margin) = (Duration::from_secs(61), Duration::from_secs(10))),
            ("terms-margin", |c| c.terms.margin = Duration::from_millis(249)),
            ("terms-pace", |c| c.terms.pace = Duration::from_secs(61)),
            ("terms-pace", |c| c.terms.pace = Duration::from_millis(9)),
            ("terms-step", |c| c.terms.step = 0),
        ];
        for (key, change) in all {
            let error = config(change).unwrap_err();
            assert!(error.starts_with(&format!("{key}: ")), "{error}");
        }
        config(|c| c.terms.renew = ms(1_000)).unwrap();
    }
}
