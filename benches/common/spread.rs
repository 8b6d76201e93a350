//! Repeated measurements of one thing.

use std::fmt;

/// Figures in ascending order.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// At least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        assert!(!figures.is_empty(), "nothing was measured");
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The smallest figure that at least this share of all figures does not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.percentile(0)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.percentile(100)
    }

    /// The median with its unit. If there are several figures, the least and the greatest follow.
    pub(crate) fn show(&self, unit: &str, decimals: usize) -> String {
        let median = self.median();
        match self.0.len() {
            1 => format!("{median:.decimals$}{unit}"),
            _ => format!("{median:.decimals$}{unit} {}", Range(self, decimals)),
        }
    }
}

/// `(least to greatest)`.
struct Range<'a>(&'a Spread, usize);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spread, decimals) = (self.0, self.1);
        write!(f, "({:.decimals$} to {:.decimals$})", spread.least(), spread.greatest())
    }
}
