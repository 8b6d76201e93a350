//! What was advertised of the applications under one id. A packet alone changes none: it counts for
//! the start that it names, and once that start has proved itself it is not changed any more, since a
//! node says the same as long as it runs. Who names no start, a foreign device, may say another.

use std::sync::Arc;

use super::machine::Machine;
use crate::cluster::node::{Boot, Offer};

/// The starts of one id of which an offer is kept, those of its machines aside.
const OFFERS_MAX: usize = 4;

/// Offers, the newest last.
#[derive(Debug, Default)]
pub(super) struct Offers(Vec<(Option<Boot>, Arc<Offer>)>);

impl Offers {
    /// A source's word of a start.
    pub(super) fn heard(&mut self, boot: Option<Boot>, offer: &Arc<Offer>, machines: &[Machine]) {
        let held = |boot: Option<Boot>| machines.iter().any(|h| h.proven && h.boot == boot);
        match self.0.iter_mut().find(|(of, _)| *of == boot) {
            Some((of, known)) => {
                let settled = of.is_some() && held(*of);
                if !settled {
                    *known = Arc::clone(offer);
                }
            }
            None => {
                self.0.push((boot, Arc::clone(offer)));
                let free = |(of, _): &(Option<Boot>, _)| !held(*of);
                if self.0.iter().filter(|known| free(known)).count() > OFFERS_MAX {
                    let oldest = self.0.iter().position(free);
                    oldest.map(|at| self.0.remove(at));
                }
            }
        }
    }

    /// What a machine offers: what was said of its start, or of none. Before it has proved itself, what
    /// was said last.
    pub(super) fn of(&self, machine: &Machine) -> Option<&Arc<Offer>> {
        let of = |boot| self.0.iter().find(|(of, _)| *of == boot);
        let last = self.0.last().filter(|_| !machine.proven);
        last.or_else(|| of(machine.boot)).or_else(|| of(None)).map(|(_, offer)| offer)
    }
}
