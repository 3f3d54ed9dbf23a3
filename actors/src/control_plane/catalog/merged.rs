//! What is under several access policies as one, in the order of the assets' ids.

use crate::control_plane::resources::{Offered, OfferedAssets, Offering, Rendered};
use cellspace_schemas::{AssetId, management::Asset};
use itertools::{Either, Itertools};
use std::{iter::once, ops::Bound};

/// An asset with the offers that a counterparty sees, in the order of their definitions.
pub(super) type Visible<'a> = (&'a Rendered<Asset>, Vec<&'a Offering>);

/// Where reading begins, and which way it goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum From<'c> {
    /// With the first one.
    Start,
    /// With the first one after this.
    After(&'c AssetId),
    /// With the last one before this, backwards.
    Before(&'c AssetId),
}

impl From<'_> {
    fn reaches(self, id: &AssetId) -> bool {
        match self {
            Self::Start => true,
            Self::After(from) => id > from,
            Self::Before(from) => id < from,
        }
    }
}

/// Reads the views together. An asset that is in more than one is one asset with the offers of all of them.
pub(super) fn merged<'a: 'c, 'c>(views: &'c [&'a OfferedAssets], from: From<'c>) -> impl Iterator<Item = Visible<'a>> + 'c {
    let backwards = matches!(from, From::Before(_));
    let bounds = match from {
        From::Start => (Bound::Unbounded, Bound::Unbounded),
        From::After(id) => (Bound::Excluded(id), Bound::Unbounded),
        From::Before(id) => (Bound::Unbounded, Bound::Excluded(id)),
    };
    let read = move |view: &&'a OfferedAssets| {
        // A walk through a tree takes memory of its own: not for those of one asset, of which there may be many.
        if view.size() == 1 {
            return Either::Left(view.first().filter(|(id, _)| from.reaches(id)).into_iter());
        }
        let assets = view.range::<AssetId, _>(bounds);
        Either::Right(if backwards { Either::Left(assets.rev()) } else { Either::Right(assets) })
    };
    let mut assets = views.iter().map(read).kmerge_by(move |(a, _), (b, _)| if backwards { a > b } else { a < b }).peekable();
    std::iter::from_fn(move || {
        let (id, first) = assets.next()?;
        let mut offers: Vec<&Offering> = offers(first).collect();
        let mut more = false;
        while let Some((_, next)) = assets.next_if(|(next, _)| *next == id) {
            offers.extend(self::offers(next));
            more = true;
        }
        if more {
            offers.sort_by(|a, b| a.definition.definition.id.cmp(&b.definition.definition.id));
        }
        Some((first.asset.as_ref(), offers))
    })
}

fn offers(offered: &Offered) -> impl Iterator<Item = &Offering> {
    let only = offered.offers.first().filter(|_| offered.offers.size() == 1);
    only.map_or_else(|| Either::Right(offered.offers.values()), |(_, offer)| Either::Left(once(offer))).map(AsRef::as_ref)
}
