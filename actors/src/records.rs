//! Values and keys in the vault that rows name: each in a record of its own that is never written again, so that a commit names the new one wholly or not
//! at all.
//!
//! A record is in the vault before the commit that names it. What no commit names is removed again. What a crash between the two leaves is looked for in a
//! private vault the next time that something is kept in the same part of the owner's folder, which is what a client does whose request was cut off; else it
//! goes with the folder.

use crate::Services;
use cellspace_cluster::{Address, Agent, AskError, Call, DeliveryError, PrepareError, Undo};
use cellspace_schemas::{KeyAlias, Owner};
use cellspace_storage::{Secret, Vault, VaultPath};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Weak},
};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Parts of folders of which it is remembered that they were looked through; what is forgotten is looked through once more.
const LOOKED: usize = 10_000;

/// A part of the folders of an agent's owners: what it holds is named by the rows of that agent alone, under names that are new each time and nobody's choice,
/// `prefix` and a UUID. Whatever else is called otherwise is left alone.
pub struct Part<A: Agent> {
    /// How the aliases begin.
    pub prefix: &'static str,
    /// The records that the agent's rows name.
    pub named: fn(&A::State) -> HashSet<KeyAlias>,
}

/// What a node knows of records that it made.
pub struct Records {
    /// Those of which it is not known yet whether a commit names them.
    under_way: Mutex<HashSet<VaultPath>>,
    looked: Cache<(Owner, &'static str), ()>,
    looking: TaskTracker,
    stop: CancellationToken,
}

impl Default for Records {
    fn default() -> Self {
        Self { under_way: Mutex::default(), looked: Cache::new(LOOKED), looking: TaskTracker::new(), stop: CancellationToken::new() }
    }
}

impl Records {
    /// Whether it is the first time that this part is looked through.
    fn first(&self, owner: &Owner, part: &'static str) -> bool {
        let place = (owner.clone(), part);
        let first = self.looked.get(&place).is_none();
        if first {
            self.looked.insert(place, ());
        }
        first
    }

    /// Looks through a part beside whoever keeps something in it, until the node ends.
    fn look(&self, looking: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.looking.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = looking => {}
            }
        });
    }

    /// Looks through nothing any more, also not what has begun: what is left is found the next time. For the end of the process, while agents can be read.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.looking.close();
        self.looking.wait().await;
    }

    /// From now on it is not known whether a commit names the record at this path, which is new; it is removed should the call not be executed. Where nobody
    /// knows what became of the call, that stays so for as long as the node lives: what is kept for it holds neither vault nor node.
    fn hold(self: &Arc<Self>, vault: &Arc<dyn Vault>, path: &VaultPath, call: &Call) {
        self.under_way.lock().insert(path.clone());
        let (vault, under_way) = (Arc::downgrade(vault), UnderWay(Arc::downgrade(self), path.clone()));
        call.undo.by(move || {
            // Without a runtime or a vault the node has ended.
            if let (Ok(runtime), Some(vault)) = (Handle::try_current(), vault.upgrade()) {
                runtime.spawn(async move {
                    let UnderWay(_, at) = &under_way;
                    if let Err(error) = vault.delete(at).await {
                        tracing::warn!(category = "app", owner = %at.owner, record = %at.alias, %error, "a record that nothing names is left in the vault");
                    }
                });
            }
        });
    }

    /// Those of this owner of which it is not known yet.
    fn of(&self, owner: &Owner) -> HashSet<KeyAlias> {
        self.under_way.lock().iter().filter(|path| path.owner == *owner).map(|path| path.alias.clone()).collect()
    }
}

/// Gone when it is known what became of the record.
struct UnderWay(Weak<Records>, VaultPath);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(records) = self.0.upgrade() {
            records.under_way.lock().remove(&self.1);
        }
    }
}

/// Begins a new record in this part of the owner's folder, which is removed should the call not be executed. Who holds the steps may still make it.
///
/// # Errors
/// The prefix of the part is too long.
pub fn begin<A: Agent, R>(
    services: &Services,
    owner: &Owner,
    part: &'static Part<A>,
    name: Uuid,
    call: &Call,
) -> Result<(VaultPath, Undo), PrepareError<R>> {
    let alias = KeyAlias::new(format!("{}{name}", part.prefix)).map_err(|e| PrepareError::Unavailable(e.to_string()))?;
    let path = VaultPath { owner: owner.clone(), alias };
    services.records.hold(&services.vault, &path, call);
    if services.vault.is_private() && services.records.first(owner, part.prefix) {
        let (records, services, owner) = (services.records.clone(), services.clone(), owner.clone());
        records.look(async move {
            if let Err(reason) = sweep(&services, &owner, part).await {
                services.records.looked.remove(&(owner.clone(), part.prefix));
                tracing::warn!(category = "app", %owner, part = part.prefix, reason, "what a crash may have left in the vault is not looked for");
            }
        });
    }
    Ok((path, call.undo.clone()))
}

/// Puts the value into a new record in this part of the owner's folder, from which it is removed should the call not be executed.
///
/// # Errors
/// The vault is out of reach.
pub async fn keep<A: Agent, R>(
    services: &Services,
    owner: &Owner,
    part: &'static Part<A>,
    value: &str,
    call: &Call,
) -> Result<KeyAlias, PrepareError<R>> {
    let unavailable = |e: &dyn fmt::Display| PrepareError::Unavailable(format!("the secret cannot be stored: {e}"));
    let (path, undo) = begin(services, owner, part, Uuid::new_v4(), call)?;
    let (record, vault, value) = (path.alias.clone(), services.vault.clone(), Secret::from(value));
    // Goes on when its caller gives up: what is removed then must be there by then.
    let put = tokio::spawn(async move {
        let put = vault.put_secret(&path, value).await;
        drop(undo);
        put
    });
    put.await.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
    Ok(record)
}

/// Removes what this part of the owner's folder holds and no row names; how many records that were.
///
/// # Errors
/// The vault or the agent is out of reach: some may be left.
async fn sweep<A: Agent>(services: &Services, owner: &Owner, part: &'static Part<A>) -> Result<usize, String> {
    let there = services.vault.aliases(owner, part.prefix).await.map_err(|e| e.to_string())?;
    // In this order: what was there is under way still, or what became of it is known and can be read.
    let under_way = services.records.of(owner);
    let agent = Address::of::<A>(owner.clone());
    let named = match services.cluster.snapshot::<A>(&agent).await {
        Ok(state) => (part.named)(&state),
        Err(AskError::NotRegistered) => HashSet::new(),
        Err(error) => return Err(error.to_string()),
    };
    let left = left_over(part.prefix, there, &under_way, &named);
    for record in &left {
        if !services.cluster.serves(&agent) {
            return Err("the agent is another node's by now".to_owned());
        }
        let path = VaultPath { owner: owner.clone(), alias: record.clone() };
        services.vault.delete(&path).await.map_err(|e| e.to_string())?;
        tracing::info!(category = "app", %owner, %record, "a record that nothing names has left the vault");
    }
    Ok(left.len())
}

/// Of the records that are there those that nobody names or will name.
fn left_over(prefix: &str, there: Vec<KeyAlias>, under_way: &HashSet<KeyAlias>, named: &HashSet<KeyAlias>) -> Vec<KeyAlias> {
    let made_here = |alias: &KeyAlias| alias.as_str().strip_prefix(prefix).is_some_and(|name| Uuid::parse_str(name).is_ok());
    there.into_iter().filter(|alias| made_here(alias) && !under_way.contains(alias) && !named.contains(alias)).collect()
}

/// Removes a record that nothing names any longer; may be repeated.
///
/// # Errors
/// When it has to be tried again.
pub async fn forget(vault: &dyn Vault, owner: &Owner, record: &KeyAlias) -> Result<(), DeliveryError> {
    let path = VaultPath { owner: owner.clone(), alias: record.clone() };
    vault.delete(&path).await.map_err(|e| DeliveryError::Retry(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::TestVault;
    use cellspace_schemas::ParticipantContextId;

    fn alias(text: impl fmt::Display) -> KeyAlias {
        KeyAlias::new(text.to_string()).unwrap()
    }

    /// Whatever becomes of a command that is not executed, its record goes, and no other one does; until then it is under way.
    #[tokio::test]
    async fn what_no_commit_names_is_removed_again() {
        let vault: Arc<dyn Vault> = Arc::new(TestVault::default());
        let owner = Owner::from(&ParticipantContextId::new("acme").unwrap());
        let (records, call, other) = (Arc::new(Records::default()), Call::by("test"), Call::by("test"));
        let [path, kept] = ["part/1", "part/2"].map(|name| VaultPath { owner: owner.clone(), alias: alias(name) });
        for (path, call) in [(&path, &call), (&kept, &other)] {
            records.hold(&vault, path, call);
            vault.put_secret(path, Secret::from("s3cret")).await.unwrap();
        }
        let waiting = call.clone();
        drop(call);
        tokio::task::yield_now().await;
        assert!(vault.secret(&path).await.is_ok(), "it may still be executed");
        assert_eq!(records.of(&owner).len(), 2);
        assert!(records.of(&Owner::from(&ParticipantContextId::new("other").unwrap())).is_empty());
        drop(waiting);
        while !records.of(&owner).is_disjoint(&HashSet::from([path.alias.clone()])) {
            tokio::task::yield_now().await;
        }
        assert!(vault.secret(&path).await.is_err() && vault.secret(&kept).await.is_ok());
    }

    #[test]
    fn left_over_is_what_nobody_names_or_will_name() {
        let [named, under_way, left] = [1, 2, 3].map(|n| alias(format_args!("part/{}", Uuid::from_u128(n))));
        let others = ["part/mine", "part/", "other/00000000-0000-0000-0000-000000000003"].map(alias);
        let there = [vec![named.clone(), under_way.clone(), left.clone()], others.to_vec()].concat();
        assert_eq!(left_over("part/", there, &HashSet::from([under_way]), &HashSet::from([named])), [left]);
    }

    /// What has begun ends, and nothing begins: a vault that never answers does not hold up the end of the process.
    #[tokio::test]
    async fn nothing_is_looked_through_beyond_the_end() {
        let records = Records::default();
        let held = Arc::new(());
        for drained in [false, true] {
            let held = held.clone();
            records.look(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
            assert_eq!(records.looking.len(), 1);
            if !drained {
                tokio::task::yield_now().await;
            }
            records.drain().await;
            assert!(records.looking.is_empty());
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_part_is_looked_through_once() {
        let (records, owner) = (Records::default(), Owner::from(&ParticipantContextId::new("acme").unwrap()));
        assert!(records.first(&owner, "a/") && records.first(&owner, "b/") && !records.first(&owner, "a/"));
    }
}
