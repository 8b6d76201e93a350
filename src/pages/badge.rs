//! The badge of a node: a colour and a shape drawn from its id. So people can distinguish clones of
//! one card at a glance, and name them: "the green star is the slow one".
//!
//! There are 10 colours, 12 shapes, and a small mark in another tint and shape. The drawing is
//! pure: the same id gives the same badge on every page of every machine.

use std::fmt::{self, Write};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The look of a node.
#[derive(Clone, Copy, Debug)]
pub struct Badge {
    /// The colour of the shape.
    pub colour: &'static Palette,
    shape: &'static Shape,
    mark: &'static Shape,
}

/// One colour with its tints.
#[derive(Debug)]
pub struct Palette {
    /// The name of the colour for people.
    pub name: &'static str,
    /// The colour itself, for shapes. Every tint is a CSS colour.
    pub strong: &'static str,
    /// A background under dark text.
    pub light: &'static str,
    /// A background under light text.
    pub dark: &'static str,
}

/// A shape in the square from -50 to 50. The mark is drawn around the origin, so each shape has
/// room for it there.
#[derive(Debug)]
struct Shape {
    name: &'static str,
    path: &'static str,
}

const fn colour(
    name: &'static str,
    strong: &'static str,
    light: &'static str,
    dark: &'static str,
) -> Palette {
    Palette { name, strong, light, dark }
}

const fn shape(name: &'static str, path: &'static str) -> Shape {
    Shape { name, path }
}

/// The colours. They are spread over the circle of hues in OKLCH, each at the lightness that fits
/// its name best.
static COLOURS: [Palette; 10] = [
    colour("red", "#e64343", "#ffd0cb", "#3d110f"),
    colour("orange", "#fb7c05", "#ffd3b4", "#391700"),
    colour("yellow", "#f2c50e", "#f7e29c", "#2a2001"),
    colour("lime", "#a1d206", "#d7f0ab", "#1b2600"),
    colour("green", "#03a14a", "#b4f0c1", "#012a0e"),
    colour("teal", "#0cafa8", "#a5f0eb", "#012826"),
    colour("blue", "#0278e7", "#c4dfff", "#062142"),
    colour("violet", "#7b53dd", "#dcd5ff", "#231a40"),
    colour("magenta", "#c54ebe", "#fccaf7", "#331331"),
    colour("pink", "#fe91ac", "#ffd3dc", "#3c101d"),
];

static SHAPES: [Shape; 12] = [
    shape("circle", "M0-46a46 46 0 1 1 0 92a46 46 0 1 1 0-92z"),
    shape(
        "square",
        "M-36-42h72a6 6 0 0 1 6 6v72a6 6 0 0 1-6 6h-72a6 6 0 0 1-6-6v-72a6 6 0 0 1 6-6z",
    ),
    shape("triangle", "M-4-48q4-5 8 0l44 76q3 6-4 6h-88q-7 0-4-6z"),
    shape("diamond", "M-4-47q4-4 8 0l43 43q4 4 0 8l-43 43q-4 4-8 0l-43-43q-4-4 0-8z"),
    shape(
        "hexagon",
        "M-3-47q3-2 6 0l36 21q3 2 3 5v42q0 3-3 5l-36 21q-3 2-6 0l-36-21q-3-2-3-5v-42q0-3 3-5z",
    ),
    shape("star", "M0-49l12 31 34 2-26 21 8 33-28-18-28 18 8-33-26-21 34-2z"),
    shape("cross", "M-17-46h34v29h29v34h-29v29h-34v-29h-29v-34h29z"),
    shape("heart", "M0 43c-66-42-46-86-24-86c13 0 20 8 24 15c4-7 11-15 24-15c22 0 42 44-24 86z"),
    shape(
        "flower",
        "M0-20a18 18 0 1 1 17 10a18 18 0 1 1-6 27a18 18 0 1 1-22 0a18 18 0 1 1-6-27a18 18 0 1 1 17-10z",
    ),
    shape("drop", "M0-49c8 18 34 34 34 61a34 34 0 0 1-68 0c0-27 26-43 34-61z"),
    shape("leaf", "M-44-44h50a38 38 0 0 1 38 38v50h-50a38 38 0 0 1-38-38z"),
    shape("arch", "M-42 44v-46a42 42 0 0 1 84 0v46q0 0-4 0h-76q-4 0-4 0z"),
];

/// The places in [`SHAPES`] of the marks: the shapes that are still clear at a third of their size.
const MARKS: [usize; 6] = [0, 1, 2, 3, 5, 7];

/// The characters that must not stand in a `data:` URL inside an attribute. Double quotes are not
/// among them: they become single ones, which are shorter.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'#').add(b'<').add(b'>').add(b'%').add(b'&');

impl Badge {
    /// Draws the badge of this id.
    pub fn of(id: &str) -> Self {
        let mut hash = hash(id);
        let mut next = |count: usize| {
            let drawn = hash % count as u64;
            hash /= count as u64;
            drawn as usize
        };
        let colour = &COLOURS[next(COLOURS.len())];
        let shape_at = next(SHAPES.len());
        // A mark of the shape's own kind would only look like a thick outline.
        let marks = MARKS.iter().filter(|at| **at != shape_at);
        let mark = marks.clone().nth(next(marks.clone().count()));
        Self { colour, shape: &SHAPES[shape_at], mark: mark.map_or(&SHAPES[0], |at| &SHAPES[*at]) }
    }

    /// Returns an inline SVG without a size of its own; style it by `.badge`. It has no text from
    /// outside, so it needs no escaping.
    pub fn svg(self) -> String {
        let Palette { strong, light, dark, .. } = self.colour;
        let paper = if self.is_bright() { dark } else { light };
        let mut svg = String::with_capacity(400);
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg class=\"badge\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-50 -50 100 100\" \
             role=\"img\" aria-label=\"{self}\"><path fill=\"{strong}\" d=\"{}\"/>\
             <path fill=\"{paper}\" transform=\"scale(.34)\" d=\"{}\"/></svg>",
            self.shape.path, self.mark.path
        );
        svg
    }

    /// Returns the badge as the `href` of an icon. It is inline, because a browser that fetches
    /// `/favicon.ico` would take a turn of the balancer's rotation with each visit: of two nodes
    /// people would see only one.
    pub fn icon_href(self) -> String {
        let svg = self.svg().replace('"', "'");
        format!("data:image/svg+xml,{}", utf8_percent_encode(&svg, ESCAPED))
    }

    fn is_bright(self) -> bool {
        matches!(self.colour.name, "yellow" | "lime" | "pink" | "orange")
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.colour.name, self.shape.name)
    }
}

/// Hashes by FNV-1a, then by the last step of murmur3, so that ids that differ in one character
/// have nothing in common.
fn hash(text: &str) -> u64 {
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
        (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_always_gives_the_same_badge() {
        assert_eq!(Badge::of("b2fkq7aaaaaaa").svg(), Badge::of("b2fkq7aaaaaaa").svg());
    }

    #[test]
    fn similar_ids_give_different_badges() {
        let badges: HashSet<_> = (0..30).map(|n| Badge::of(&format!("node-{n}")).svg()).collect();
        assert!(badges.len() >= 28, "{}", badges.len());
    }

    #[test]
    fn the_icon_fits_an_attribute_in_double_quotes() {
        let href = Badge::of("ada").icon_href();
        assert!(href.starts_with("data:image/svg+xml,%3Csvg class='badge' "), "{href}");
        assert!(!href.contains(['"', '<', '>', '#', '&']), "{href}");
    }
}
