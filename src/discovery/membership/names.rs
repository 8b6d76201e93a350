//! The ids and names that the table gives: a foreign device's id, a clone's suffix, and names of which
//! no two are equal.

use std::collections::BTreeSet;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::cluster::node::NodeId;

/// The length of a DNS label, and so the most of an id and of a name.
const LABEL_BYTES_MAX: usize = 63;

/// The id of a device that has none, made from its instance label. A label that had to be changed gets
/// a short hash of itself, so that two labels never become one id.
pub(super) fn foreign_id(instance: &str) -> NodeId {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let plain: String = instance
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if legal(c) { c } else { '-' })
        .take(LABEL_BYTES_MAX)
        .collect();
    let digest = BASE32_NOPAD.encode(&Sha256::digest(instance)[..5]).to_ascii_lowercase();
    NodeId::new(&plain).filter(|_| plain == instance).unwrap_or_else(|| {
        NodeId::new(&suffixed(&plain, &digest)).expect("legal characters, cut to the legal length")
    })
}

/// `text-suffix`, the text cut so that the whole fits a label. Both are ASCII.
pub(super) fn suffixed(text: &str, suffix: &str) -> String {
    let room = LABEL_BYTES_MAX.saturating_sub(suffix.len() + 1);
    format!("{}-{suffix}", &text[..text.len().min(room)])
}

/// The id of a further machine that holds `id` at the same time, and its suffix: the first of `id-2`,
/// `id-3` and so on that is not taken.
pub(super) fn clone_id(id: &NodeId, taken: impl Fn(&NodeId) -> bool) -> (NodeId, String) {
    (2_u32..)
        .map(|n| n.to_string())
        .filter_map(|suffix| Some((NodeId::new(&suffixed(id.as_str(), &suffix))?, suffix)))
        .find(|(id, _)| !taken(id))
        .expect("the table is bounded, the numbers are not")
}

/// Takes a name that is not taken yet: the wanted one, else with the beginning of the id after it, else
/// with a number after that.
pub(super) fn unique(wanted: &str, id: &NodeId, taken: &mut BTreeSet<String>) -> String {
    let plain = std::iter::once(wanted.to_owned());
    let short = std::iter::once(suffixed(wanted, id.short()));
    let numbered = (2_u32..).map(|n| suffixed(wanted, &format!("{}-{n}", id.short())));
    plain
        .chain(short)
        .chain(numbered)
        .find(|name| taken.insert(name.clone()))
        .expect("the table is bounded, the numbers are not")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_label_becomes_an_id_and_only_a_changed_one_gets_a_hash() {
        assert_eq!(foreign_id("nas").as_str(), "nas");
        let changed = ["NAS", "Nas", "n as", "n.as", "Büro NAS", "", &"x".repeat(64), "\u{0}"];
        let ids: BTreeSet<_> = changed.iter().map(|label| foreign_id(label)).collect();
        assert_eq!(ids.len(), changed.len(), "{ids:?}");
        assert!(foreign_id("n as").as_str().starts_with("n-as-"));
    }

    #[test]
    fn equal_names_are_distinguished_by_ids_and_stay_within_a_label() {
        let mut taken = BTreeSet::new();
        let ids = ["abcdefgh", "bbcdefgh", "bbcdefgi", "bbcdefgj"];
        let long = "n".repeat(63);
        let names = ids.map(|id| unique(&long, &NodeId::new(id).unwrap(), &mut taken));
        assert_eq!(names[0], long);
        assert!(names[1].ends_with("n-bbcdef"), "{}", names[1]);
        assert!(names[2].ends_with("-bbcdef-2"), "{}", names[2]);
        assert!(names[3].ends_with("-bbcdef-3"), "{}", names[3]);
        assert!(names.iter().all(|name| name.len() == 63));
    }
}
