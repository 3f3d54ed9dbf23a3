//! Comparisons of a participant's policies, equal ones held once.

use cellspace_schemas::odrl::{AtomicConstraint, Policy};
use rpds::HashTrieMapSync;
use std::sync::Arc;

/// The comparisons with the number of places that have them. Policies of one participant mostly say the same few things, so that an evaluation that
/// knows a comparison again by its address judges it once for all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Atoms(HashTrieMapSync<Arc<AtomicConstraint>, usize>);

impl Atoms {
    /// The policy with the comparisons that are held here.
    pub(super) fn share(&mut self, policy: &Policy) -> Policy {
        policy.with_atoms(&mut |atom| {
            let (held, places) = self.0.get_key_value(atom).map_or_else(|| (atom.clone(), 0), |(held, places)| (held.clone(), *places));
            self.0.insert_mut(held.clone(), places + 1);
            held
        })
    }

    /// Forgets what only this policy, which was shared before, says.
    pub(super) fn forget(&mut self, policy: &Policy) {
        for atom in policy.atomic_constraints() {
            match self.0.get(atom).copied() {
                Some(places) if places > 1 => {
                    self.0.insert_mut(atom.clone(), places - 1);
                }
                Some(_) | None => {
                    self.0.remove_mut(atom);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(operands: &[&str]) -> Policy {
        let atom = |operand: &&str| json!({"leftOperand": operand, "operator": "eq", "rightOperand": 1});
        let constraints: Vec<_> = operands.iter().map(atom).collect();
        let rule = json!({"action": "use", "constraint": [{"or": constraints}], "duty": [{"action": "use", "constraint": constraints}]});
        serde_json::from_value(json!({"@type": "Set", "permission": [rule]})).unwrap()
    }

    #[test]
    fn equal_comparisons_are_one_as_long_as_somebody_has_them() {
        let mut atoms = Atoms::default();
        let (first, second) = (atoms.share(&policy(&["a", "b"])), atoms.share(&policy(&["b", "c"])));
        assert_eq!((&first, &second), (&policy(&["a", "b"]), &policy(&["b", "c"])));
        let addresses = |policy: &Policy| -> Vec<_> {
            let named = policy.atomic_constraints().filter(|atom| atom.left_operand == "b");
            named.map(Arc::as_ptr).collect()
        };
        let all = [addresses(&first), addresses(&second)].concat();
        assert_eq!((all.len(), all.iter().collect::<std::collections::HashSet<_>>().len()), (4, 1));
        atoms.forget(&first);
        assert_eq!(atoms.0.size(), 2);
        atoms.forget(&second);
        assert!(atoms.0.is_empty());
    }
}
