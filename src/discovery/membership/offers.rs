//! The offers that were advertised under one id, and which of them count.
//!
//! A packet alone changes no offer of a node. An offer counts for the start that it names, and it is
//! frozen once that start has proved itself, because a node advertises the same as long as it runs. A
//! foreign device names no start, so its offer may change.

use std::sync::Arc;

use crate::cluster::node::{Boot, Offer};

/// The most starts of one id whose offers are kept, in addition to those of its proven machines.
const OFFERS_MAX: usize = 4;

/// Offers by the start that they name, the newest start last.
#[derive(Debug, Default)]
pub(super) struct Offers(Vec<(Option<Boot>, Arc<Offer>)>);

impl Offers {
    /// Takes in an advertised offer of a start. `is_proven` is true if a machine of this start
    /// has proved itself.
    pub(super) fn advertised(
        &mut self,
        boot: Option<Boot>,
        offer: &Arc<Offer>,
        is_proven: impl Fn(Option<Boot>) -> bool,
    ) {
        if let Some((_, known)) = self.0.iter_mut().find(|(of, _)| *of == boot) {
            let frozen = boot.is_some() && is_proven(boot);
            if !frozen {
                *known = Arc::clone(offer);
            }
            return;
        }
        self.0.push((boot, Arc::clone(offer)));
        let unproven = |(of, _): &(Option<Boot>, _)| !is_proven(*of);
        if self.0.iter().filter(|known| unproven(known)).count() > OFFERS_MAX {
            let oldest = self.0.iter().position(unproven);
            oldest.map(|at| self.0.remove(at));
        }
    }

    /// The offer of a start that has proved itself: the one that names it, else the one that names
    /// none.
    pub(super) fn of_start(&self, boot: Option<Boot>) -> Option<&Arc<Offer>> {
        let of = |boot| self.0.iter().find(|(of, _)| *of == boot);
        of(boot).or_else(|| of(None)).map(|(_, offer)| offer)
    }

    /// The offer of the start that was advertised last.
    pub(super) fn newest(&self) -> Option<&Arc<Offer>> {
        self.0.last().map(|(_, offer)| offer)
    }
}
