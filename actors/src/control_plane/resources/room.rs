//! Whether there is room for what a change would bring.

use super::{
    MAX_BYTES, MAX_LISTED, MAX_LOOSE_SELECTORS, MAX_OFFERS, MAX_VALUES, MAX_VALUES_OF_ASSET, Refusal,
    selectors::{Anchor, FoundBy},
    state::State,
};
use cellspace_schemas::{ContractDefinitionId, management::Asset, query_spec::Criterion};

/// Whether so many bytes can be kept in place of the old ones.
pub(super) fn for_bytes(state: &State, old: usize, new: usize) -> Result<(), Refusal> {
    if new > old && state.bytes() - old + new > MAX_BYTES {
        return Err(Refusal::Limit { what: "bytes in its assets and contract definitions", limit: MAX_BYTES });
    }
    Ok(())
}

/// Whether an asset can be kept by its values, in place of what it is when it is there.
pub(super) fn for_values(state: &State, new: &Asset) -> Result<(), Refusal> {
    let values: Vec<usize> = state.values_of(new).collect();
    if values.iter().any(|values| *values > MAX_VALUES_OF_ASSET) {
        let what = "values in one asset of a property that its contract definitions select by";
        return Err(Refusal::Limit { what, limit: MAX_VALUES_OF_ASSET });
    }
    let (old, new) = (state.asset(&new.id).map_or(0, |old| state.values_of(old).sum()), values.iter().sum::<usize>());
    if new > old && state.values() - old + new > MAX_VALUES {
        return Err(Refusal::Limit { what: "values in its assets that its contract definitions select by", limit: MAX_VALUES });
    }
    Ok(())
}

/// Whether the offers that a change brings can be kept. There are `most` of them at most; they, and the `old` ones that go for them, are counted only when
/// that may be too many.
pub(super) fn for_offers<I: IntoIterator>(
    state: &State,
    most: usize,
    old: impl FnOnce() -> usize,
    new: impl FnOnce() -> I,
) -> Result<(), Refusal> {
    if state.offers() + most <= MAX_OFFERS {
        return Ok(());
    }
    let left = MAX_OFFERS.saturating_sub(state.offers() - old());
    // One more than fits is enough to know.
    if new().into_iter().nth(left).is_some() {
        return Err(Refusal::Limit { what: "offers: pairs of an asset and a contract definition that selects it", limit: MAX_OFFERS });
    }
    Ok(())
}

/// Whether a definition can have this selector, in place of what it has when it is there, and what it is found by then.
pub(super) fn for_selector(state: &State, id: &ContractDefinitionId, selector: &[Criterion]) -> Result<FoundBy, Refusal> {
    let found_by = state.choose(selector);
    let (anchor, old) = (state.anchor(selector, found_by), state.anchor_of(id));
    let was_loose = old.is_some_and(|old| matches!(old, Anchor::Loose));
    if matches!(anchor, Anchor::Loose) && state.loose_selectors() - usize::from(was_loose) >= MAX_LOOSE_SELECTORS {
        let what = "contract definitions that select assets neither by id nor by a value, a list or a beginning of one of up to 64 \
                    properties with few values";
        return Err(Refusal::Limit { what, limit: MAX_LOOSE_SELECTORS });
    }
    if state.listed_by_selectors() - old.map_or(0, Anchor::listed) + anchor.listed() > MAX_LISTED {
        return Err(Refusal::Limit { what: "ids and values in the selectors of its contract definitions", limit: MAX_LISTED });
    }
    let old = || state.offered_by(id).len();
    for_offers(state, state.assets().len(), old, || state.selected(&anchor, selector))?;
    Ok(found_by)
}
