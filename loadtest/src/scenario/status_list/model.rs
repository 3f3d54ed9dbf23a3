//! Which credentials are revoked, as the client knows it, and whether a list says so.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

/// Revocations by their bits.
#[derive(Default)]
pub struct Model(HashMap<usize, (Instant, Option<Instant>)>);

impl Model {
    /// The revocation of this bit is being sent.
    pub fn revoking(&mut self, bit: usize) {
        self.0.insert(bit, (Instant::now(), None));
    }

    /// It was acknowledged: from now on every list must show it.
    pub fn revoked(&mut self, bit: usize) {
        if let Some((_, acknowledged)) = self.0.get_mut(&bit) {
            *acknowledged = Some(Instant::now());
        }
    }

    /// Whether a list whose request began then shows all that it must, and no more than it may.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, began: Instant, shown: &HashSet<usize>) -> Result<(), String> {
        let due = |(_, acknowledged): &(Instant, Option<Instant>)| acknowledged.is_some_and(|at| at < began);
        if let Some((bit, _)) = self.0.iter().find(|(bit, times)| due(times) && !shown.contains(bit)) {
            return Err(format!("the revocation of {bit} is not shown"));
        }
        shown.iter().find(|bit| !self.0.contains_key(bit)).map_or(Ok(()), |bit| Err(format!("{bit} is shown as revoked, which nobody did")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_revocation_must_be_shown_once_it_is_acknowledged() {
        let mut model = Model::default();
        let (none, one) = (HashSet::new(), HashSet::from([7]));
        let before = Instant::now();
        assert!(model.judge(before, &none).is_ok() && model.judge(before, &one).is_err());
        model.revoking(7);
        assert!(model.judge(before, &none).is_ok() && model.judge(before, &one).is_ok());
        model.revoked(7);
        let after = Instant::now() + Duration::from_millis(1);
        assert!(model.judge(before, &none).is_ok() && model.judge(after, &none).is_err() && model.judge(after, &one).is_ok());
        assert!(model.judge(after, &HashSet::from([7, 8])).is_err());
    }
}
